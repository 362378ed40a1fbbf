//! Finds the programs of other balancers and managers, and tells if a way can be set up here.

use std::path::PathBuf;

use super::Way;
use crate::subject::Workload;

/// Folders in which balancers are installed but which are not in every PATH.
const MORE_FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// Finds a program by its name.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(MORE_FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

impl Way {
    /// Checks that the way can be set up here with that workload, as far as this is known without starting anything.
    ///
    /// # Errors
    ///
    /// The missing part, in words for people.
    pub fn available(&self, workload: &Workload) -> Result<(), String> {
        let needs = match self {
            Self::Direct | Self::Product(_) => return Ok(()),
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::NodeCluster | Self::Pm2 if workload.node_file().is_none() => {
                return Err("it runs Node applications only: a program given as `node FILE`".to_owned());
            }
            // The Node that the workload's command names.
            Self::NodeCluster => return Ok(()),
            Self::Pm2 => "pm2",
        };
        find(needs).map(drop).ok_or_else(|| format!("needs {needs}"))
    }
}
