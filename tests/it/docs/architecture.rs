//! The order of the rooms, as `src/lib.rs` shows it, is the order in the code, and each room is private inside.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::files;

const LIB: &str = include_str!("../../../src/lib.rs");

/// The line of `text` with the arrows, as groups of rooms. A group may use the groups after it.
fn groups(text: &str) -> Vec<Vec<&str>> {
    let line = text.lines().find(|line| line.contains(" ▶ ")).expect("a line with arrows");
    let line = line.trim_start_matches("//!").split('`').find(|part| part.contains(" ▶ ")).expect("the arrows");
    line.split(" ▶ ").map(|group| group.split(", ").map(str::trim).collect()).collect()
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The rooms that each room uses: `crate::room` in a line that is no comment.
fn uses() -> BTreeSet<(String, String)> {
    let src = src();
    let mut uses = BTreeSet::new();
    for file in files(&src, "rs") {
        let room = file.strip_prefix(&src).expect("a file in src").iter().next().expect("a room");
        let room = room.to_str().expect("UTF-8").trim_end_matches(".rs");
        let text = fs::read_to_string(&file).expect("its text");
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for rest in line.split("crate::").skip(1) {
                let end = rest.find(|next: char| !next.is_ascii_alphanumeric() && next != '_').unwrap_or(rest.len());
                if rest[..end] != *room {
                    uses.insert((room.to_owned(), rest[..end].to_owned()));
                }
            }
        }
    }
    uses
}

#[test]
fn every_room_uses_only_rooms_after_it() {
    let groups = groups(LIB);
    let places: BTreeMap<&str, usize> =
        (0..).zip(&groups).flat_map(|(place, group)| group.iter().map(move |room| (*room, place))).collect();
    let uses = uses();
    assert!(uses.len() > 20, "{uses:?}");
    for (from, to) in &uses {
        let (Some(place), Some(target)) = (places.get(from.as_str()), places.get(to.as_str())) else { continue };
        let is_mutual = uses.contains(&(to.clone(), from.clone()));
        assert!(place < target || (place == target && !is_mutual), "{from} uses {to}, which comes before it");
    }
}

#[test]
fn modules_inside_a_room_are_private() {
    for file in files(&src(), "rs").iter().filter(|file| !file.ends_with("src/lib.rs")) {
        let text = fs::read_to_string(file).expect("its text");
        let doors = text.lines().map(str::trim).filter(|line| line.starts_with("pub") && line.contains(" mod "));
        let public: Vec<_> = doors.collect();
        assert!(public.is_empty(), "{}: `pub use` what others need, instead of {public:?}", file.display());
    }
}

/// The picture of the parts, without what is before each line.
fn picture(text: &str) -> Vec<&str> {
    let lines = text.lines().map(|line| line.trim_start_matches("//!").trim());
    lines.skip_while(|line| !line.starts_with("Magic Hour ──")).take_while(|line| *line != "```").collect()
}

#[test]
fn the_readme_has_the_picture_of_the_code() {
    let picture_of_code = picture(LIB);
    assert!(picture_of_code.len() > 5, "{picture_of_code:?}");
    assert_eq!(picture(include_str!("../../../README.md")), picture_of_code);
}

#[test]
fn both_pictures_show_every_room() {
    let modules: BTreeSet<&str> =
        LIB.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    for text in [LIB, include_str!("../../../docs/architecture.md")] {
        let rooms: BTreeSet<&str> = groups(text).concat().into_iter().collect();
        assert_eq!(rooms, modules);
    }
}
