//! Files that are there whole or not at all, also when the power fails: written beside, then renamed.

use super::ids;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Writes a file and waits until it is on the disk.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Creates a folder, and those above it, that only its owner can enter: what is kept there is about customers.
/// One that exists stays as it is.
pub fn private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Makes a file that only its owner can read; one that exists is an error. It is never there in part: who finds half a key
/// cannot start.
pub fn secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let next = path.with_file_name(ids::fresh("secret"));
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&next)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    // A rename would take the place of a file that exists; a link does not.
    let linked = fs::hard_link(&next, path);
    fs::remove_file(&next)?;
    linked?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Waits until the folder's entries are on the disk.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Puts a file in the place of the one of this name: a reader sees the old content or the new one.
/// `beside` begins the name that it has until then.
pub fn replace(path: &Path, beside: &str, bytes: &[u8]) -> io::Result<()> {
    let next = path.with_file_name(ids::fresh(beside));
    write(&next, bytes)?;
    fs::rename(&next, path)?;
    path.parent().map_or(Ok(()), sync_folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_replaced_file_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("current");
        for text in ["one", "two"] {
            replace(&file, "next", text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let private_one = folder.path().join("state/models");
        private(&private_one).unwrap();
        let mode = |folder: &Path| fs::metadata(folder).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&private_one), mode(&folder.path().join("state"))), (0o700, 0o700));
        assert!(replace(&folder.path().join("none/current"), "next", b"x").is_err());
        let key = private_one.join("key");
        secret(&key, b"one").unwrap();
        assert!(secret(&key, b"two").is_err());
        assert_eq!((fs::read(&key).unwrap().as_slice(), mode(&key)), (b"one".as_slice(), 0o600));
        assert_eq!(fs::read_dir(&private_one).unwrap().count(), 1);
    }
}
