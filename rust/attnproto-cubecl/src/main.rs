//! FOLDER HEADS N D: writes the generated kernels and an index into a folder that Python reads.

use std::{env, fs, path::Path, process::ExitCode};

use attnproto_cubecl::{Generated, Sizes, generate};

fn numbers<T: ToString>(values: &[T]) -> String {
    let texts: Vec<String> = values.iter().map(T::to_string).collect();
    texts.join(",")
}

/// Writes the text, or the reason why there is none, and returns the kernel's line of the index.
fn write_one(folder: &Path, kernel: &Generated) -> std::io::Result<String> {
    let name = format!("{}_{}_{}", kernel.kind, kernel.way, kernel.element);
    let launch = kernel.launch.as_ref();
    let (status, text) = match launch.map(|launch| launch.source.as_ref()) {
        Ok(Ok(text)) => ("ok", text),
        Ok(Err(reason)) | Err(reason) => ("refused", reason),
    };
    fs::write(folder.join(&name), text)?;
    let place = launch.map_or(String::new(), |it| {
        [
            it.entry.clone(),
            numbers(&it.threadgroups),
            numbers(&it.threads),
            numbers(&it.threadgroup_bytes),
            numbers(&it.buffer_bytes),
            numbers(&it.info),
        ]
        .join("\t")
    });
    let Generated {
        kind,
        way,
        element,
        versions,
        ..
    } = kernel;
    Ok(format!(
        "{name}\t{kind}\t{way}\t{element}\t{versions}\t{status}\t{place}\n"
    ))
}

fn write(folder: &Path, sizes: Sizes) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut index = String::new();
    for kernel in generate(sizes) {
        index += &write_one(folder, &kernel)?;
    }
    fs::write(folder.join("index.tsv"), index)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let sizes: Vec<usize> = arguments
        .iter()
        .skip(1)
        .filter_map(|it| it.parse().ok())
        .collect();
    let (Some(folder), &[heads, n, d]) = (arguments.first(), sizes.as_slice()) else {
        eprintln!("[cubecl] found {arguments:?}, needs FOLDER HEADS N D");
        return ExitCode::from(2);
    };
    match write(Path::new(folder), Sizes { heads, n, d }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("[cubecl] found {folder}: {error}, needs a folder that can be written");
            ExitCode::FAILURE
        }
    }
}
