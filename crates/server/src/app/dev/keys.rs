//! Keys of `spinward dev`, kept between its runs: open pages and copied lines outlive a restart.

use crate::secret::Secret;
use serde_json::{Value, json};
use spinward::id::Entropy;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The names in the file.
const TOKEN: &str = "token_hmac_secret_key";
const API: &str = "api_key";
const CONSOLE: &str = "console_key";

/// Shortest key that is taken from a file.
const SHORTEST: usize = 32;

/// Keys that development mode makes by itself.
pub(super) struct Keys {
    /// Signs tokens.
    pub(super) token: Secret,
    /// Key of the HTTP API.
    pub(super) api: Secret,
    /// Key of requests that only the console makes.
    pub(super) console: Secret,
    /// The file that keeps them, or the reason why they are for this run alone.
    pub(super) kept: Result<PathBuf, String>,
    /// The file was damaged or readable for others, and these take the place of its keys.
    pub(super) replaced: bool,
}

impl Keys {
    /// The keys of the user's state folder, made where there are none.
    pub(super) fn of_user() -> Self {
        match folder(|name| std::env::var_os(name)) {
            Some(folder) => Self::of(&folder),
            None => Self { kept: Err("there is no HOME to keep them in".to_owned()), ..Self::new() },
        }
    }

    /// The keys kept in `folder`, made where there are none.
    fn of(folder: &Path) -> Self {
        let path = folder.join("dev.json");
        let (read, replaced) = (Self::read(&path), path.exists());
        if let Some(keys) = read {
            return keys;
        }
        if replaced {
            let _ = fs::remove_file(&path);
        }
        let keys = Self { replaced, ..Self::new() };
        match keys.write(&path) {
            Ok(()) => Self { kept: Ok(path), ..keys },
            // Another process was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Self::read(&path).unwrap_or(Self { kept: Err(unwritable(&path, &error)), ..keys })
            }
            Err(error) => Self { kept: Err(unwritable(&path, &error)), ..keys },
        }
    }

    pub(super) fn new() -> Self {
        let secret = || Secret::new(format!("{}{}", unpredictable(), unpredictable()));
        Self { token: secret(), api: secret(), console: secret(), kept: Err(String::new()), replaced: false }
    }

    /// `None` for a file that is missing, damaged or readable for others.
    fn read(path: &Path) -> Option<Self> {
        let file: Value = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
        let key = |name: &str| {
            let key = file[name].as_str().filter(|key| key.len() >= SHORTEST)?;
            Some(Secret::from(key))
        };
        is_private(path).then_some(())?;
        let (token, api, console) = (key(TOKEN)?, key(API)?, key(CONSOLE)?);
        Some(Self { token, api, console, kept: Ok(path.to_owned()), replaced: false })
    }

    /// Writes a file of the owner alone, as a whole or not at all.
    fn write(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        make_private(folder)?;
        let draft = path.with_extension(format!("{}.tmp", std::process::id()));
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let text = json!({
            TOKEN: self.token.expose(), API: self.api.expose(), CONSOLE: self.console.expose(),
        });
        let written = options.open(&draft).and_then(|mut file| {
            writeln!(file, "{text:#}")?;
            // Unlike a rename, it does not replace what another process has written meanwhile.
            fs::hard_link(&draft, path)
        });
        let _ = fs::remove_file(&draft);
        written
    }
}

fn unwritable(path: &Path, error: &io::Error) -> String {
    format!("cannot write {}: {error}", path.display())
}

fn unpredictable() -> String {
    Entropy::system().client_id().to_string()
}

/// The folder for state of programs of this user.
fn folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // The XDG specification has relative paths ignored.
    let state = set("XDG_STATE_HOME").filter(|path| path.is_absolute());
    let state = state.or_else(|| set("LOCALAPPDATA").filter(|_| cfg!(windows)));
    Some(state.or_else(|| Some(set("HOME")?.join(".local/state")))?.join("spinward"))
}

#[cfg(unix)]
fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(not(unix))]
fn make_private(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}

#[cfg(unix)]
fn is_private(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o077 == 0)
}

#[cfg(not(unix))]
fn is_private(_: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("spinward-dev-{name}-{}", unpredictable())))
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn exposed(keys: &Keys) -> [String; 3] {
        [&keys.token, &keys.api, &keys.console].map(|key| key.expose().to_owned())
    }

    #[test]
    fn keys_last_and_differ() {
        let place = Place::new("last");
        let keys = Keys::of(&place.0);
        let [token, api, console] = exposed(&keys);
        assert!(token != api && api != console && token.len() >= 64);
        assert_eq!(keys.kept.clone().unwrap(), place.0.join("dev.json"));
        assert_eq!(exposed(&Keys::of(&place.0)), exposed(&keys));
        assert_eq!(fs::read_dir(&place.0).unwrap().count(), 1, "no draft is left");
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_for_its_owner() {
        use std::os::unix::fs::PermissionsExt as _;
        let place = Place::new("mode");
        let keys = Keys::of(&place.0);
        let file = keys.kept.clone().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&place.0), mode(&file)), (0o700, 0o600));
        // A key that others could read is not used again.
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let fresh = Keys::of(&place.0);
        assert_ne!(exposed(&fresh), exposed(&keys));
        assert!(fresh.replaced && !keys.replaced);
        assert_eq!(mode(&file), 0o600);
    }

    #[test]
    fn a_damaged_file_is_made_anew_and_no_folder_is_told() {
        let place = Place::new("damaged");
        fs::create_dir_all(&place.0).unwrap();
        let file = place.0.join("dev.json");
        for text in ["", "{", "{}", r#"{"token_hmac_secret_key":"short","api_key":"a","console_key":"b"}"#] {
            fs::write(&file, text).unwrap();
            let keys = Keys::of(&place.0);
            assert_eq!(exposed(&Keys::of(&place.0)), exposed(&keys), "{text}");
        }
        let keys = Keys::of(&file);
        assert!(keys.kept.unwrap_err().contains("cannot write"));
    }

    #[test]
    fn the_folder_is_that_of_state() {
        let of = |set: &[(&str, &str)]| {
            folder(|name| set.iter().find(|(one, _)| *one == name).map(|(_, value)| OsString::from(value)))
        };
        let home = ("HOME", "/home/u");
        assert_eq!(of(&[home]).unwrap(), Path::new("/home/u/.local/state/spinward"));
        assert_eq!(of(&[home, ("XDG_STATE_HOME", "/s")]).unwrap(), Path::new("/s/spinward"));
        assert_eq!(of(&[home, ("XDG_STATE_HOME", "s")]).unwrap(), Path::new("/home/u/.local/state/spinward"));
        assert_eq!(of(&[("HOME", "")]), None);
    }
}
