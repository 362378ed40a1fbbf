//! Addresses and paths.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::super::value::{Raw, Value, nearest};
use super::super::{Address, Control, LogTarget, Probe};
use super::{Codec, Wrong, because, quoted};
use crate::os::limits::LONGEST_UNIX_PATH;

/// The probe of a health check.
pub(in crate::config) const PROBE: Codec<Probe> = Codec {
    expects: "\"tcp\", \"listen-table\", \"channel\", \"none\" or a path such as \"/health\"",
    read: |value| match value.text().ok_or(Wrong::Expected)? {
        "tcp" => Ok(Probe::Tcp),
        "listen-table" => Ok(Probe::ListenTable),
        "channel" => Ok(Probe::Channel),
        "none" => Ok(Probe::None),
        // The path is copied into a request line unchanged.
        path if path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic()) => {
            Ok(Probe::Http { path: path.to_owned() })
        }
        path if path.starts_with('/') => {
            because(format!("`{path}` cannot stand in a request"), "write spaces and letters beyond ASCII as %XX")
        }
        _ => Err(Wrong::Expected),
    },
    show: |probe| {
        Some(quoted(match probe {
            Probe::None => "none",
            Probe::Tcp => "tcp",
            Probe::ListenTable => "listen-table",
            Probe::Channel => "channel",
            Probe::Http { path } => path,
        }))
    },
};

fn read_address(value: &Value) -> Result<Address, Wrong> {
    let wrong = |message| Wrong::Because { message, label: None, at: Some(value.at.clone()) };
    let text = value.text().ok_or_else(|| wrong("an address must be a string".to_owned()))?;
    let address = text.parse::<Address>().map_err(|error| wrong(error.to_string()))?;
    match &address {
        Address::Unix(path) if path.as_os_str().len() > LONGEST_UNIX_PATH => {
            let length = path.as_os_str().len();
            Err(wrong(format!("a unix socket's path may have {LONGEST_UNIX_PATH} bytes, and this one has {length}")))
        }
        _ => Ok(address),
    }
}

/// The word for the address that a Node application asks for.
const APP: &str = "app";

/// Public addresses. An empty list stands for [`APP`].
pub(in crate::config) const LISTEN: Codec<Vec<Address>> = Codec {
    expects: "an address such as \"127.0.0.1:8080\", a list of them, or \"app\"",
    read: |value| match &value.raw {
        Raw::List(items) if items.is_empty() => Err(Wrong::Expected),
        Raw::List(items) => match items.iter().find(|item| item.text() == Some(APP)) {
            Some(item) => Err(Wrong::Because {
                message: "`app`, the address that the application asks for, stands alone".to_owned(),
                label: Some("drop it, or the other addresses".to_owned()),
                at: Some(item.at.clone()),
            }),
            None => items.iter().map(read_address).collect(),
        },
        _ if value.text() == Some(APP) => Ok(Vec::new()),
        _ => value.text().ok_or(Wrong::Expected).and_then(|_| read_address(value)).map(|address| vec![address]),
    },
    show: |addresses| {
        let each: Vec<String> = addresses.iter().map(|address| quoted(&address.to_string())).collect();
        Some(match each.as_slice() {
            [] => quoted(APP),
            [one] => one.clone(),
            _ => format!("[{}]", each.join(", ")),
        })
    },
};

/// The admin port.
pub(in crate::config) const ADMIN_LISTEN: Codec<Option<SocketAddr>> = Codec {
    expects: "an address such as \"127.0.0.1:9900\", or \"off\"",
    read: |value| match value.text().ok_or(Wrong::Expected)? {
        "off" => Ok(None),
        _ => match read_address(value)? {
            Address::Tcp(address) => Ok(Some(address)),
            Address::Passed(_) => because(
                "the admin port is named by its address, also where it is passed",
                "write the address of the socket that is passed, such as \"127.0.0.1:9900\"",
            ),
            Address::Unix(_) => {
                because("the admin port is a TCP address", "the unix listener is `control` in [master]")
            }
        },
    },
    show: |listen| Some(quoted(&listen.map_or_else(|| "off".to_owned(), |address| address.to_string()))),
};

fn read_path(value: &Value) -> Result<PathBuf, Wrong> {
    match value.text() {
        Some(text) if !text.is_empty() && !text.contains('\0') => Ok(PathBuf::from(text)),
        _ => Err(Wrong::Expected),
    }
}

/// The control socket.
pub(in crate::config) const CONTROL: Codec<Control> = Codec {
    expects: "\"auto\", \"off\" or the path of a unix socket",
    read: |value| match value.text() {
        Some("auto") => Ok(Control::Auto),
        Some("off") => Ok(Control::Off),
        _ => read_path(value).map(Control::Path),
    },
    show: |control| {
        Some(quoted(&match control {
            Control::Auto => "auto".to_owned(),
            Control::Off => "off".to_owned(),
            Control::Path(path) => path.display().to_string(),
        }))
    },
};

/// The working directory of workers.
pub(in crate::config) const CWD: Codec<Option<PathBuf>> = Codec {
    expects: "the path of a directory",
    read: |value| read_path(value).map(Some),
    show: |cwd| cwd.as_ref().map(|path| quoted(&path.display().to_string())),
};

/// The target of the lines that workers write.
pub(in crate::config) const LOG_TO: Codec<LogTarget> = Codec {
    expects: "\"stdout\", \"off\" or the path of a file",
    read: |value| match value.text() {
        Some("stdout") => Ok(LogTarget::Stdout),
        Some("off") => Ok(LogTarget::Off),
        Some("stderr") => because(
            "`stderr` is not a place for both streams",
            "with \"stdout\" each stream goes to the master's own; a file of that name is \"./stderr\"",
        ),
        // A word without `/` or `.` is probably a misspelt keyword, not the name of a file.
        Some(word) if !word.contains(['/', '.']) => match nearest(word, ["stdout", "off"]) {
            Some(near) => Err(Wrong::Nearly(format!("did you mean \"{near}\"? A file of that name is \"./{word}\""))),
            None => read_path(value).map(LogTarget::File),
        },
        _ => read_path(value).map(LogTarget::File),
    },
    show: |to| {
        Some(quoted(&match to {
            LogTarget::Stdout => "stdout".to_owned(),
            LogTarget::Off => "off".to_owned(),
            LogTarget::File(path) => path.display().to_string(),
        }))
    },
};
