//! A full disk that only the master and its workers see: a small file system in memory, mounted over a folder in a
//! mount namespace that ends with them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::setup::SetupError;
use crate::subject::Product;

/// The script between the drill and the master: it makes the disk, opens the log, fills the disk and becomes the
/// master. It passes any other command to the product unchanged.
const WRAPPER: &str = r#"#!/bin/sh
# $PROGRAM, $FOLDER and $UNSHARE stand above.
if [ "$1" = run ]; then
  exec $UNSHARE sh -c '
    mount -t tmpfs -o size=64k,mode=755 none "$0" && : > "$0/app.log" && exec 3> "$0/filler" || exit 1
    while head -c 4096 /dev/zero >&3 2>/dev/null; do :; done
    exec 3>&-
    exec "$@"' "$FOLDER/disk" "$PROGRAM" "$@"
fi
exec "$PROGRAM" "$@"
"#;

/// The script by which each worker writes a flood on command: more than a pipe holds, and in total more than the master
/// keeps in its queue.
const FLOOD: &str = r#"( until [ -e "$DIR/go" ]; do sleep 0.05; done
  i=0; while [ $i -lt 64 ]; do head -c 65536 /dev/zero | tr '\0' x | fold -w 127; i=$((i + 1)); done
  : > "$DIR/through.$ROUNDELAY_WORKER" ) &
shift; exec "$@""#;

/// A full disk for one master.
#[derive(Debug)]
pub(crate) struct FullDisk {
    folder: PathBuf,
    wrapper: PathBuf,
}

impl FullDisk {
    /// Prepares a full disk in that folder.
    ///
    /// # Errors
    ///
    /// [`SetupError::Unable`]: this user may not mount, not even in a namespace of their own.
    pub(crate) fn new(product: &Product, folder: &Path) -> Result<Self, SetupError> {
        let disk = folder.join("disk");
        let failed = |cause: std::io::Error| SetupError::Failed(format!("cannot use {}: {cause}", folder.display()));
        std::fs::create_dir(&disk).map_err(failed)?;
        let unshare = ["unshare -m", "unshare -rm"].into_iter().find(|unshare| may_mount(unshare, &disk));
        let Some(unshare) = unshare else {
            return Err(SetupError::Unable("needs the right to mount a file system (`unshare -rm`)".to_owned()));
        };
        let [program, at] = [&product.program, folder].map(quoted);
        let head = format!("#!/bin/sh\nPROGRAM={program}\nFOLDER={at}\nUNSHARE='{unshare}'\n");
        let wrapper = folder.join("master");
        let text = head + WRAPPER.trim_start_matches("#!/bin/sh\n");
        std::fs::write(&wrapper, text).map_err(failed)?;
        std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).map_err(failed)?;
        Ok(Self { folder: folder.to_owned(), wrapper })
    }

    /// Returns the program that is started instead of the product.
    pub(crate) fn program(&self) -> PathBuf {
        self.wrapper.clone()
    }

    /// Returns the options for the product.
    pub(crate) fn options(&self, is_node: bool) -> Vec<String> {
        let mut options = vec![format!("pool.{{pool}}.log.to={}", self.folder.join("disk/app.log").display())];
        if is_node {
            // Node starts as a shell that then becomes Node.
            options.push("pool.{pool}.socket-passing=node".to_owned());
        }
        options
    }

    /// Returns the worker's command with the flood added.
    pub(crate) fn flood(&self, words: &[String]) -> Vec<String> {
        let script = format!("DIR={}\n{FLOOD}", quoted(&self.folder));
        let head = ["sh", "-c", &script, "sh", "-"].map(str::to_owned);
        head.into_iter().chain(words.iter().cloned()).collect()
    }

    /// Tells the workers to write the flood.
    pub(crate) fn go(&self) -> Result<(), SetupError> {
        let go = self.folder.join("go");
        std::fs::write(&go, "").map_err(|cause| SetupError::Failed(format!("cannot write {}: {cause}", go.display())))
    }

    /// Returns the number of these slots whose worker has written everything.
    pub(crate) fn through(&self, workers: usize) -> usize {
        (0..workers).filter(|slot| self.folder.join(format!("through.{slot}")).exists()).count()
    }
}

fn may_mount(unshare: &str, disk: &Path) -> bool {
    let mut words = unshare.split(' ');
    let Some(program) = words.next() else { return false };
    let mut command = Command::new(program);
    command.args(words).args(["mount", "-t", "tmpfs", "-o", "size=64k", "none"]).arg(disk);
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Quotes a text as one word of the shell.
fn quoted(path: impl AsRef<Path>) -> String {
    format!("'{}'", path.as_ref().to_string_lossy().replace('\'', r"'\''"))
}
