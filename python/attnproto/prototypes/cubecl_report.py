def sections(rows):
    return []
