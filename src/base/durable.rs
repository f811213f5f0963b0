//! Files that are there whole or not at all, also when the power fails: written beside, then renamed.

use super::ids;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Writes a file and waits until it is on the disk.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
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

    #[test]
    fn a_replaced_file_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("current");
        for text in ["one", "two"] {
            replace(&file, "next", text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(replace(&folder.path().join("none/current"), "next", b"x").is_err());
    }
}
