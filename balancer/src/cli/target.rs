//! Parses the target of a command: `api`, `api/0` or `api/2-4`. Pure.

use crate::admin::commands;
use crate::failure::{Failure, code};
use crate::pool::operation::SlotRange;
use crate::printable;

/// A pool, or workers of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) pool: String,
    pub(super) slots: SlotRange,
}

impl Target {
    /// # Errors
    ///
    /// With [`code::USAGE`] if it has none of the three forms.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = || {
            Failure::new(code::USAGE, format!("`{}` is not a target", printable::escape(text)))
                .hint("write a pool, a worker or a range of them: api, api/0, api/2-4")
        };
        let (pool, slots) = match text.split_once('/') {
            None => (text, SlotRange::All),
            Some((pool, slots)) => (pool, commands::slots(slots).ok_or_else(wrong)?),
        };
        let pool = checked(pool).map_err(|_| wrong())?;
        Ok(Self { pool, slots })
    }

    /// Returns the body of a command on this target.
    pub(super) fn body(&self) -> String {
        match self.slots {
            SlotRange::All => "{}".to_owned(),
            SlotRange::Slots(first, last) => format!(r#"{{"slots":"{first}-{last}"}}"#),
        }
    }
}

/// Checks a pool's name. An invalid name could form another path of the API.
///
/// # Errors
///
/// With [`code::NO_TARGET`]: a pool with such a name cannot exist.
pub(super) fn checked(pool: &str) -> Result<String, Failure> {
    crate::config::name_is_valid(pool).map(|()| pool.to_owned()).map_err(|reason| {
        Failure::new(code::NO_TARGET, format!("no pool named `{}`", printable::escape(pool)))
            .cause(format!("a name has {reason}"))
    })
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.slots {
            SlotRange::All => f.write_str(&self.pool),
            SlotRange::Slots(first, last) if first == last => write!(f, "{}/{first}", self.pool),
            SlotRange::Slots(first, last) => write!(f, "{}/{first}-{last}", self.pool),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_workers_and_ranges_are_targets() {
        for (text, slots, body) in [
            ("api", SlotRange::All, "{}"),
            ("api/0", SlotRange::Slots(0, 0), r#"{"slots":"0-0"}"#),
            ("a-b_1/2-4", SlotRange::Slots(2, 4), r#"{"slots":"2-4"}"#),
        ] {
            let target = Target::parse(text).unwrap();
            assert_eq!((target.slots, target.to_string().as_str(), target.body().as_str()), (slots, text, body));
        }
    }

    #[test]
    fn everything_else_is_wrong_usage_and_never_another_path() {
        for text in ["", "/", "/0", "api/", "api/x", "api/4-2", "api/0/1", "api/0 ", "..", "a b", "a?b", "a%2fb", "é"]
        {
            assert_eq!(Target::parse(text).unwrap_err().code, code::USAGE, "{text}");
        }
    }
}
