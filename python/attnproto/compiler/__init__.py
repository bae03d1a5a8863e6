"""The Metal Shading Language on devices that are not Apple's.

One front end for them all: the text is preprocessed, its tokens are rewritten to
C++ for OpenCL, clang turns that into LLVM IR, and the IR is specialised for one
kernel and its function constants.
"""
