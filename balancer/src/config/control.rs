//! The path of the control socket. Pure.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::Control;

impl Control {
    /// Returns the socket's path, or `None` if there is no control socket.
    ///
    /// Root has one fixed path, so that a service and root's shell use the same socket.
    pub fn path(&self, uid: u32, runtime_dir: Option<&OsStr>, temporary: &Path) -> Option<PathBuf> {
        match self {
            Control::Off => None,
            Control::Path(path) => Some(path.clone()),
            Control::Auto if uid == 0 => Some(PathBuf::from("/run/roundelay/control.sock")),
            Control::Auto => Some(match runtime_dir.map(Path::new).filter(|dir| dir.is_absolute()) {
                Some(dir) => dir.join("roundelay/control.sock"),
                None => temporary.join(format!("roundelay-{uid}/control.sock")),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_a_path_and_root_has_a_fixed_one() {
        let path = |control: Control, uid, dir: Option<&str>| {
            let path = control.path(uid, dir.map(OsStr::new), Path::new("/tmp"));
            path.map(|path| path.display().to_string())
        };
        assert_eq!(path(Control::Off, 0, None), None);
        assert_eq!(path(Control::Path("/x".into()), 7, Some("/run/user/7")).as_deref(), Some("/x"));
        assert_eq!(path(Control::Auto, 0, Some("/run/user/0")).as_deref(), Some("/run/roundelay/control.sock"));
        let user = path(Control::Auto, 7, Some("/run/user/7"));
        assert_eq!(user.as_deref(), Some("/run/user/7/roundelay/control.sock"));
        assert_eq!(path(Control::Auto, 7, Some("")).as_deref(), Some("/tmp/roundelay-7/control.sock"));
    }
}
