//! The user and group that workers run as, and the limits of their rights.

use super::super::value::{Raw, Value};
use super::{Codec, Wrong, because, quoted};
use crate::os::account::Account;
use crate::os::child::CoreLimit;

/// Reads a name, or `uid:33` for a number. A bare number is refused, since it could be a name.
fn read_account(value: &Value, prefix: &str) -> Result<Option<Account>, Wrong> {
    if let (Raw::Integer(number), None) = (&value.raw, value.text()) {
        return because("a bare number is no name", format!("write \"{prefix}:{number}\""));
    }
    let text = value.text().filter(|text| !text.is_empty() && !text.contains('\0')).ok_or(Wrong::Expected)?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if is_number(text) {
        return because("a bare number is no name", format!("write \"{prefix}:{text}\""));
    }
    let Some((before, number)) = text.split_once(':') else { return Ok(Some(Account::Name(text.to_owned()))) };
    // Only digits are a number: a parser that read "0day" or "0x0" as 0 would make the worker root.
    match number.parse() {
        Ok(id) if before == prefix && is_number(number) && id != u32::MAX => Ok(Some(Account::Id(id))),
        _ => because(
            format!("`{text}` is neither a name nor a number"),
            format!("a number is written \"{prefix}:1000\""),
        ),
    }
}

fn show_account(account: Option<&Account>, prefix: &str) -> Option<String> {
    account.map(|account| match account {
        Account::Name(name) => quoted(name),
        Account::Id(id) => quoted(&format!("{prefix}:{id}")),
    })
}

/// The user that workers run as.
pub(in crate::config) const USER: Codec<Option<Account>> = Codec {
    expects: "the name of a user, or \"uid:1000\"",
    read: |value| read_account(value, "uid"),
    show: |account| show_account(account.as_ref(), "uid"),
};

/// The group that workers run as.
pub(in crate::config) const GROUP: Codec<Option<Account>> = Codec {
    expects: "the name of a group, or \"gid:1000\"",
    read: |value| read_account(value, "gid"),
    show: |account| show_account(account.as_ref(), "gid"),
};

/// A boolean.
pub(in crate::config) const BOOLEAN: Codec<bool> = Codec {
    expects: "true or false",
    read: |value| match (&value.raw, value.text()) {
        (Raw::Boolean(is_so), _) => Ok(*is_so),
        (_, Some(word @ ("true" | "false"))) => Err(Wrong::Nearly(format!("write {word} without quotes"))),
        _ => Err(Wrong::Expected),
    },
    show: |is_so| Some(is_so.to_string()),
};

/// The word for "as the master was started".
const INHERITED: &str = "inherited";

/// The limit of a worker's open files.
pub(in crate::config) const OPEN_FILES: Codec<Option<u64>> = Codec {
    expects: "\"inherited\" or a count from 16 to 1000000000",
    read: |value| match value.text() {
        Some(INHERITED) => Ok(None),
        _ => value.count(16..=1_000_000_000).map(Some).ok_or(Wrong::Expected),
    },
    show: |limit| Some(limit.map_or_else(|| quoted(INHERITED), |n| n.to_string())),
};

/// The limit of a worker's core dump.
pub(in crate::config) const CORE: Codec<Option<CoreLimit>> = Codec {
    expects: "\"inherited\", \"off\", \"unlimited\" or a number of bytes",
    read: |value| match value.text() {
        Some(INHERITED) => Ok(None),
        Some("off") => Ok(Some(CoreLimit::Bytes(0))),
        Some("unlimited") => Ok(Some(CoreLimit::Unlimited)),
        _ => value.count(0..=i128::from(i64::MAX)).map(|bytes| Some(CoreLimit::Bytes(bytes))).ok_or(Wrong::Expected),
    },
    show: |limit| {
        Some(match limit {
            None => quoted(INHERITED),
            Some(CoreLimit::Bytes(0)) => quoted("off"),
            Some(CoreLimit::Unlimited) => quoted("unlimited"),
            Some(CoreLimit::Bytes(bytes)) => bytes.to_string(),
        })
    },
};
