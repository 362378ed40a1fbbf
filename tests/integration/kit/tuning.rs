//! Options of a pool, for a test that cannot wait for the defaults.

use super::Setup;

impl Setup {
    /// With options of the pool `name`, each as `key=value`.
    pub(crate) fn with(self, name: &str, options: &[&str]) -> Self {
        let all: Vec<_> = options.iter().map(|option| format!("pool.{name}.{option}")).collect();
        self.env("ROUNDELAY_SET", &all.join(";"))
    }
}
