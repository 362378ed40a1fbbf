//! What a command is about: `api`, `api/0` or `api/2-4`. Pure.

use crate::admin::orders;
use crate::failure::{Failure, code};
use crate::pool::operation::Which;
use crate::printable;

/// A pool, or workers of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) pool: String,
    pub(super) which: Which,
}

impl Target {
    /// # Errors
    ///
    /// With [`code::USAGE`] if it is none of the three forms.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        let wrong = || {
            Failure::new(code::USAGE, format!("`{}` is no target", printable::escape(text)))
                .hint("write a pool, a worker or a range of them: api, api/0, api/2-4")
        };
        let (pool, which) = match text.split_once('/') {
            None => (text, Which::All),
            Some((pool, slots)) => (pool, orders::slots(slots).ok_or_else(wrong)?),
        };
        let pool = checked(pool).map_err(|_| wrong())?;
        Ok(Self { pool, which })
    }

    /// The body of an order about it.
    pub(super) fn body(&self) -> String {
        match self.which {
            Which::All => "{}".to_owned(),
            Which::Slots(first, last) => format!(r#"{{"slots":"{first}-{last}"}}"#),
        }
    }
}

/// A pool's name; what could not be one would be another path of the API.
///
/// # Errors
///
/// With [`code::NO_TARGET`]: there cannot be such a pool.
pub(super) fn checked(pool: &str) -> Result<String, Failure> {
    crate::config::name_is_valid(pool).map(|()| pool.to_owned()).map_err(|reason| {
        Failure::new(code::NO_TARGET, format!("no pool named `{}`", printable::escape(pool)))
            .cause(format!("a name has {reason}"))
    })
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.which {
            Which::All => f.write_str(&self.pool),
            Which::Slots(first, last) if first == last => write!(f, "{}/{first}", self.pool),
            Which::Slots(first, last) => write!(f, "{}/{first}-{last}", self.pool),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_workers_and_ranges_are_targets() {
        for (text, which, body) in [
            ("api", Which::All, "{}"),
            ("api/0", Which::Slots(0, 0), r#"{"slots":"0-0"}"#),
            ("a-b_1/2-4", Which::Slots(2, 4), r#"{"slots":"2-4"}"#),
        ] {
            let target = Target::parse(text).unwrap();
            assert_eq!((target.which, target.to_string().as_str(), target.body().as_str()), (which, text, body));
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
