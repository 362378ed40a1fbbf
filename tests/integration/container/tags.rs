//! Every image has a tag that says which one it is, and the tag of our image is the version of the program.

use super::read;

/// The tag of our own image.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Named releases of Debian.
const RELEASES: [&str; 2] = ["bookworm", "trixie"];
const FILES: [&str; 3] = ["docker/Dockerfile", "docker/compose.yaml", "docs/container.md"];

/// The images that a line of a Dockerfile, of a compose file or of a shell names.
fn images(line: &str) -> Vec<&str> {
    let line = line.trim_start_matches(['#', ' ']);
    let words: Vec<&str> = line.split("   ").next().unwrap().split_whitespace().collect();
    match words.as_slice() {
        ["FROM" | "image:", image, ..] => vec![image],
        ["COPY", from, ..] => from.strip_prefix("--from=").into_iter().collect(),
        ["docker", "build", rest @ ..] => rest.windows(2).filter(|pair| pair[0] == "-t").map(|pair| pair[1]).collect(),
        ["docker", "run", .., image] => vec![image],
        _ => vec![],
    }
}

/// Returns true if a tag never moves to another release, only to fixes within one.
fn is_pinned(tag: &str) -> bool {
    let has_number = |part: &str| part.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit());
    tag.split('-').any(|part| has_number(part) || RELEASES.contains(&part))
}

#[test]
fn every_image_has_a_tag_and_ours_is_our_version() {
    let mut ours = 0;
    for file in FILES {
        let text = read(file);
        let stages: Vec<&str> = text.lines().filter_map(|line| line.split(" AS ").nth(1)).collect();
        let found: Vec<&str> = text.lines().flat_map(images).filter(|image| !stages.contains(image)).collect();
        assert!(found.len() >= 3, "{file}: {found:?}");
        for image in found.into_iter().filter(|&image| image != "scratch") {
            let (name, tag) = image.split_once(':').unwrap_or((image, "latest"));
            assert!(is_pinned(tag), "{file}: {image} may be another one tomorrow");
            if name == "roundelay" {
                ours += 1;
                let target = tag.strip_prefix(VERSION);
                assert!(matches!(target, Some("" | "-debian")), "{file}: {image}, and this is {VERSION}");
            }
        }
    }
    assert_eq!(ours, 9, "in all three files");
}

#[test]
fn moving_tags_are_recognised() {
    for (tag, expected) in [
        ("latest", false),
        ("debian", false),
        ("slim", false),
        ("1.95-bookworm", true),
        ("v3.5.0", true),
        ("bookworm-slim", true),
    ] {
        assert_eq!(is_pinned(tag), expected, "{tag}");
    }
}
