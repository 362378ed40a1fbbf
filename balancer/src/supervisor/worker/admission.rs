//! Remembers if a process has been in rotation, and why it last left it. Pure.

/// The times in rotation of one process.
#[derive(Debug, Default)]
pub(super) struct Admissions {
    was_ready: bool,
    /// The process is busy, and was not suspect in between.
    was_busy: bool,
}

/// The kind of an admission to the rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    First,
    /// The process was busy.
    NotBusyAnyMore,
    /// The process was suspect, or was put back after its replacement failed.
    HealthyAgain,
}

impl Admissions {
    /// Records that the process is in rotation now.
    pub(super) fn admit(&mut self) -> Admission {
        if std::mem::take(&mut self.was_busy) {
            return Admission::NotBusyAnyMore;
        }
        match std::mem::replace(&mut self.was_ready, true) {
            true => Admission::HealthyAgain,
            false => Admission::First,
        }
    }

    /// Records that the process is busy now.
    pub(super) fn busy(&mut self) {
        self.was_busy = true;
    }

    /// Returns true if the process has been in rotation.
    pub(super) fn was_ready(&self) -> bool {
        self.was_ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admission_after_a_busy_time_is_no_recovery() {
        let mut admissions = Admissions::default();
        assert!(!admissions.was_ready());
        assert_eq!(admissions.admit(), Admission::First);
        admissions.busy();
        assert_eq!(admissions.admit(), Admission::NotBusyAnyMore);
        assert_eq!(admissions.admit(), Admission::HealthyAgain);
        assert!(admissions.was_ready());
    }
}
