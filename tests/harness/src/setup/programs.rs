//! Other balancers' and managers' programs: where they are, and whether a way can be set up here at all.

use std::path::PathBuf;

use super::Way;
use crate::subject::Workload;

/// Where balancers are installed, which is not in everybody's PATH.
const MORE_FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// A program by its name.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(MORE_FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

impl Way {
    /// Checks if it can be set up here with that workload, as far as can be told without starting anything.
    ///
    /// # Errors
    ///
    /// What is missing, in words for people.
    pub fn available(&self, workload: &Workload) -> Result<(), String> {
        let needs = match self {
            Self::Direct | Self::Product(_) => return Ok(()),
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::NodeCluster | Self::Pm2 if workload.node_file().is_none() => {
                return Err("it runs Node applications only: a program given as `node FILE`".to_owned());
            }
            // The Node that the workload names.
            Self::NodeCluster => return Ok(()),
            Self::Pm2 => "pm2",
        };
        find(needs).map(drop).ok_or_else(|| format!("needs {needs}"))
    }
}
