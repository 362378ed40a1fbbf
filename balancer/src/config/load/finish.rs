//! The last steps of loading: defaults that follow from other keys, the rules across keys, users and groups.

use super::{Load, Loaded, Sources, defaults};
use crate::config::check;
use crate::config::problem::{Problem, Problems};
use crate::config::{Program, WorkerCount};
use crate::os::account::Lookup;

impl Load {
    fn check_rules(&mut self) {
        for pool in &self.config.pools {
            let path = format!("pool.{}.command", pool.name);
            if pool.program == Program::Command(Vec::new()) && !self.failed.contains(&path) {
                let message = format!("pool `{}` has no `command`", pool.name);
                let problem = Problem::error(self.position(&path), message);
                self.problems.push(problem.label("add command = [\"node\", \"app.js\"]"));
            }
        }
        let is_failed = |path: &String| self.failed.contains(path.split('[').next().unwrap_or(path));
        for found in check::check(&self.config, &|path| self.is_written(path)) {
            if is_failed(&found.path) || found.also.as_ref().is_some_and(is_failed) {
                continue;
            }
            let position = self.position(&found.path);
            let also = found.also.map(|path| self.position(&path)).filter(|also| *also != position);
            let problem = Problem::error(position, found.message).maybe_label(found.label);
            self.problems.push(Problem { severity: found.severity, also, ..problem });
        }
    }

    /// Looks up the user and group that the workers run as.
    fn identities(&mut self, lookup: Lookup) {
        let mut refused = Vec::new();
        for pool in self.config.pools.iter_mut().filter(|pool| pool.user.is_some() || pool.group.is_some()) {
            let path = |key: &str| format!("pool.{}.{key}", pool.name);
            if ["user", "group"].iter().any(|key| self.failed.contains(&path(key))) {
                continue;
            }
            match lookup(pool.user.as_ref(), pool.group.as_ref()) {
                Ok(identity) => pool.identity = Some(identity),
                Err(why) => refused.push((path(why.key), why)),
            }
        }
        for (path, why) in refused {
            self.problems.push(Problem::error(self.position(&path), why.message).maybe_label(why.label));
        }
    }

    pub(super) fn finish(mut self, sources: &Sources) -> Result<Loaded, Problems> {
        for pool in &mut self.config.pools {
            // With one worker a first try would show no distribution over workers.
            if pool.program == Program::Demo
                && pool.workers.resolve(sources.cpus) < 2
                && pool.workers == WorkerCount::Auto
            {
                pool.workers = WorkerCount::Count(2);
            }
        }
        self.callers_port(&sources.env);
        for pool in &mut self.config.pools {
            let (origins, name) = (&self.origins, pool.name.clone());
            defaults::follow(pool, |key| origins.contains_key(&format!("pool.{name}.{key}")));
        }
        self.config.pools.sort_by(|a, b| a.name.cmp(&b.name));
        self.check_rules();
        if let Some(lookup) = sources.accounts {
            self.identities(lookup);
        }
        let problems = Problems::new(sources.file.clone(), self.problems);
        if problems.errors() > 0 {
            return Err(problems);
        }
        Ok(Loaded { config: self.config, origins: self.origins, warnings: problems })
    }
}
