//! Writes the generated kernels and an index into a folder that Python reads.

use std::{env, fs, path::Path, process::ExitCode};

use attnproto_cubecl::{VERSIONS, generate};

fn write(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut index = format!("versions\t{VERSIONS}\n");
    for kernel in generate() {
        let (status, text) = match &kernel.source {
            Ok(source) => ("ok", source),
            Err(reason) => ("refused", reason),
        };
        fs::write(folder.join(format!("{}.metal", kernel.name)), text)?;
        let (rows, columns) = kernel.tile;
        let [x, y] = kernel.threads;
        index += &format!(
            "kernel\t{}\t{status}\t{}\t{}\t{}\t{rows}\t{columns}\t{x}\t{y}\n",
            kernel.name, kernel.element, kernel.n, kernel.d
        );
    }
    fs::write(folder.join("index.tsv"), index)
}

fn main() -> ExitCode {
    let Some(folder) = env::args().nth(1) else {
        eprintln!("[cubecl] found no folder, needs one to write to; pass its path");
        return ExitCode::from(2);
    };
    match write(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("[cubecl] found {folder}: {error}, needs a folder that can be written");
            ExitCode::FAILURE
        }
    }
}
