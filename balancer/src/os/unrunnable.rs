//! Explains why a program that exists cannot be executed: the kernel reports "No such file" if the interpreter that its
//! first line names is missing.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The number of bytes of a file that the kernel reads for the name of its interpreter.
const LOOKED_AT: usize = 256;

/// Explains why the kernel found no file where `program` names one, if the reason can be found. A name without a slash
/// is looked up in PATH, any other relative to `cwd`.
pub(crate) fn explain(program: &str, cwd: Option<&Path>) -> Option<String> {
    let file = find(program, cwd)?;
    let mut head = Vec::new();
    File::open(&file).ok()?.take(LOOKED_AT as u64).read_to_end(&mut head).ok()?;
    of_head(&head, &file.display().to_string(), |interpreter| Path::new(interpreter).exists())
}

fn find(program: &str, cwd: Option<&Path>) -> Option<PathBuf> {
    if program.contains('/') {
        let file = cwd.map_or_else(|| PathBuf::from(program), |cwd| cwd.join(program));
        return file.is_file().then_some(file);
    }
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(program)).find(|file| file.is_file())
}

fn of_head(head: &[u8], file: &str, exists: impl Fn(&str) -> bool) -> Option<String> {
    if head.starts_with(b"\x7fELF") {
        return Some(format!(
            "{file} is there, but the loader that it needs is not: it was built for another system (glibc, musl or another \
             architecture)"
        ));
    }
    let line = head.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    if line.ends_with('\r') {
        return Some(format!(
            "{file} is there, but its first line ends in CR LF, so that its interpreter is not found: save it with the line \
             ends of Unix (sed -i 's/\\r$//' {file})"
        ));
    }
    let interpreter = line.split_whitespace().next()?;
    (!exists(interpreter)).then(|| {
        format!("{file} is there, but the interpreter that its first line names is not: {interpreter}; install it, or correct the line")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_interpreter_is_told_from_a_missing_program() {
        let told = |head: &[u8]| of_head(head, "./app", |interpreter| interpreter == "/bin/sh");
        assert!(told(b"#!/bin/sh\r\necho\r\n").unwrap().contains("CR LF"));
        assert!(told(b"#! /opt/python9 -u\n").unwrap().contains("names is not: /opt/python9;"));
        assert!(told(b"\x7fELF\x02").unwrap().contains("loader"));
        for head in [&b"#!/bin/sh\n"[..], b"#!/bin/sh -e", b"#!", b"echo", b""] {
            assert_eq!(told(head), None);
        }
        assert_eq!(explain("./no-such-program", None), None);
    }
}
