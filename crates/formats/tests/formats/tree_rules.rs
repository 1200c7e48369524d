//! The rules of merging, one by one.

use berth_formats::layer::{EntryKind, LayerEntries, LayerEntry};
use berth_formats::tree::{NodeKind, ROOT, Tree, TreeError, TreeProblem};

use crate::layers::metadata;

type Entry<'a> = (&'a str, EntryKind<&'static str>);

const DIR: EntryKind<&'static str> = EntryKind::Directory;

fn file(content: &'static str) -> EntryKind<&'static str> {
    EntryKind::File(content)
}

fn link(target: &str) -> EntryKind<&'static str> {
    EntryKind::Symlink(target.into())
}

fn hard(target: &str) -> EntryKind<&'static str> {
    EntryKind::HardLink(target.into())
}

fn merge(layers: &[&[Entry<'_>]]) -> Result<Tree<&'static str>, TreeError> {
    let mut tree = Tree::new();
    for layer in layers {
        let entries = layer.iter().zip(0..).map(|((path, kind), index)| LayerEntry {
            index,
            path: path.as_bytes().to_vec(),
            kind: kind.clone(),
            metadata: metadata(0o644),
        });
        tree.apply_layer(LayerEntries { entries: entries.collect() })?;
    }
    Ok(tree)
}

/// The tree as text: files with content and number of names.
fn show(layers: &[&[Entry<'_>]]) -> String {
    let tree = merge(layers).expect("merge");
    let mut lines = Vec::new();
    let mut pending = vec![(String::new(), ROOT)];
    while let Some((path, id)) = pending.pop() {
        let node = tree.get(id).expect("node");
        match &node.kind {
            NodeKind::Directory(_) => lines.push(format!("{path}/")),
            NodeKind::File(content) => lines.push(format!("{path}={content}:{}", node.links)),
            NodeKind::Symlink(target) => {
                lines.push(format!("{path}->{}", String::from_utf8_lossy(target)));
            }
            _ => lines.push(format!("{path}?")),
        }
        for (name, child) in tree.children(id) {
            pending.push((format!("{path}/{}", String::from_utf8_lossy(name)), child));
        }
    }
    lines.sort();
    lines.join(" ")
}

fn problem(layers: &[&[Entry<'_>]]) -> TreeProblem {
    merge(layers).expect_err("must be refused").problem
}

#[test]
fn names_stay_in_the_root() {
    let layer: &[Entry<'_>] =
        &[("../esc", file("a")), ("/abs", file("b")), ("./x/../y", file("c"))];
    assert_eq!(show(&[layer]), "/ /abs=b:1 /esc=a:1 /y=c:1");
}

#[test]
fn the_root_is_no_entrys_to_change_but_for_its_time() {
    let mut entry = metadata(0o711);
    entry.uid = 5;
    let mut tree: Tree<()> = Tree::new();
    let root =
        LayerEntry { index: 0, path: b"./".to_vec(), kind: EntryKind::Directory, metadata: entry };
    tree.apply_layer(LayerEntries { entries: vec![root] }).expect("merge");
    let root = &tree.get(ROOT).expect("root").metadata;
    assert_eq!((root.mode, root.uid, root.mtime.secs), (0o755, 0, 1_700_000_000));
    let others: &[Entry<'_>] = &[("./", file("x")), ("..", link("x")), ("a", file("1"))];
    assert_eq!(show(&[others]), "/ /a=1:1");
}

#[test]
fn missing_parents_are_made() {
    let tree = merge(&[&[("a/b/c", file("x"))]]).expect("merge");
    let a = tree.lookup(ROOT, b"a").expect("made");
    let made = &tree.get(a).expect("node").metadata;
    assert_eq!((made.mode, made.uid, made.gid, made.mtime.secs), (0o755, 0, 0, 0));
    // White-outs need them like anything else.
    let marks: &[Entry<'_>] = &[("a/b/.wh.c", file("")), ("d/.wh..wh..opq", file(""))];
    assert_eq!(show(&[marks]), "/ /a/ /a/b/ /d/");
}

#[test]
fn a_directory_made_in_one_with_a_group_for_all_has_that_group() {
    let mut shared = metadata(0o2775);
    (shared.uid, shared.gid) = (1000, 50);
    let entry = |index, path: &str, kind, metadata| LayerEntry {
        index,
        path: path.as_bytes().to_vec(),
        kind,
        metadata,
    };
    let entries = vec![
        entry(0, "d", EntryKind::Directory, shared),
        entry(1, "d/a/b/c", EntryKind::File(""), metadata(0o644)),
    ];
    let mut tree = Tree::new();
    tree.apply_layer(LayerEntries { entries }).expect("merge");
    let d = tree.lookup(ROOT, b"d").expect("d");
    let a = tree.lookup(d, b"a").expect("made");
    let b = tree.lookup(a, b"b").expect("made");
    let owner = |id| tree.get(id).map(|node| (node.metadata.mode, node.metadata.gid));
    assert_eq!((owner(a), owner(b)), (Some((0o755, 50)), Some((0o755, 0))));
}

#[test]
fn parents_are_found_through_links_in_the_root() {
    let base: &[Entry<'_>] = &[
        ("usr/lib", DIR),
        ("lib", link("usr/lib")),
        ("abs", link("/usr/../usr/./lib")),
        ("out", link("../../../usr")),
        ("chain", link("out/lib")),
    ];
    let upper: &[Entry<'_>] =
        &[("lib/a", file("1")), ("abs/b", file("2")), ("out/c", file("3")), ("chain/d", file("4"))];
    let shown = show(&[base, upper]);
    for name in ["/usr/lib/a=1:1", "/usr/lib/b=2:1", "/usr/c=3:1", "/usr/lib/d=4:1"] {
        assert!(shown.contains(name), "{name} in {shown}");
    }
    // A link to nothing: what it points to is made.
    let dangling: &[Entry<'_>] = &[("ln", link("new/../fresh")), ("ln/f", file("x"))];
    assert_eq!(show(&[dangling]), "/ /fresh/ /fresh/f=x:1 /ln->new/../fresh");
    let looping: &[Entry<'_>] = &[("a", link("b")), ("b", link("a")), ("a/f", file("x"))];
    assert_eq!(problem(&[looping]), TreeProblem::SymlinkLoop);
    let through_file: &[Entry<'_>] = &[("f", file("x")), ("f/g", file("y"))];
    assert_eq!(problem(&[through_file]), TreeProblem::ParentNotDirectory("f".into()));
}

#[test]
fn types_replace_one_another() {
    let lower: &[Entry<'_>] =
        &[("d/x", file("1")), ("f", file("2")), ("l", link("d")), ("e/y", file("3"))];
    // A file of a lower layer gives way to a directory that is needed.
    let upper: &[Entry<'_>] = &[("d", file("new")), ("f/y/../z", file("4")), ("f/w", file("5"))];
    assert_eq!(show(&[lower, upper]), "/ /d=new:1 /e/ /e/y=3:1 /f/ /f/w=5:1 /f/z=4:1 /l->d");
    let upper: &[Entry<'_>] =
        &[("d", file("new")), ("f", DIR), ("f/z", file("4")), ("l", DIR), ("e", DIR)];
    assert_eq!(show(&[lower, upper]), "/ /d=new:1 /e/ /e/y=3:1 /f/ /f/z=4:1 /l/");
    let twice: &[Entry<'_>] = &[("a", file("1")), ("a", file("2")), ("d", file("x")), ("d", DIR)];
    assert_eq!(show(&[twice]), "/ /a=2:1 /d/");
}

#[test]
fn white_outs_reach_down_only() {
    let lower: &[Entry<'_>] = &[("d/x", file("1")), ("d/sub/y", file("2")), ("f", file("3"))];
    assert_eq!(show(&[lower, &[(".wh.f", file("")), ("d/.wh.sub", file(""))]]), "/ /d/ /d/x=1:1");
    // Before or after what the same layer brings.
    for upper in [
        [("f", file("new")), (".wh.f", file("")), (".wh.gone", file(""))],
        [(".wh.f", file("")), ("f", file("new")), ("d/.wh.gone", file(""))],
    ] {
        assert_eq!(show(&[lower, &upper]), "/ /d/ /d/sub/ /d/sub/y=2:1 /d/x=1:1 /f=new:1");
    }
    for upper in [
        [("d/sub/new", file("n")), (".wh.d", file(""))],
        [(".wh.d", file("")), ("d/sub/new", file("n"))],
    ] {
        assert_eq!(show(&[lower, &upper]), "/ /d/ /d/sub/ /d/sub/new=n:1 /f=3:1");
    }
    assert_eq!(problem(&[&[("d/.wh.", file(""))]]), TreeProblem::EmptyWhiteout);
    assert_eq!(problem(&[&[("d/.wh...", file(""))]]), TreeProblem::EmptyWhiteout);
}

#[test]
fn opaque_directories_keep_what_their_layer_brings() {
    let lower: &[Entry<'_>] = &[("d/x", file("1")), ("d/sub/y", file("2")), ("d/sub/z", file("3"))];
    for upper in [
        [("d/.wh..wh..opq", file("")), ("d/sub/y", file("n")), ("d/k", file("k"))],
        [("d/sub/y", file("n")), ("d/.wh..wh..opq", file("")), ("d/k", file("k"))],
        [("d/sub/y", file("n")), ("d/k", file("k")), ("d/.wh..wh..opq", file(""))],
    ] {
        assert_eq!(show(&[lower, &upper]), "/ /d/ /d/k=k:1 /d/sub/ /d/sub/y=n:1");
    }
    let root: &[Entry<'_>] = &[("k", file("k")), (".wh..wh..opq", file(""))];
    assert_eq!(show(&[lower, root]), "/ /k=k:1");
    let through_link: &[Entry<'_>] = &[("l", link("d")), ("l/.wh..wh..opq", file(""))];
    assert_eq!(show(&[lower, through_link]), "/ /d/ /l->d");
}

#[test]
fn aufs_bookkeeping_is_no_file_but_what_lies_below_it_is() {
    let layer: &[Entry<'_>] = &[
        (".wh..wh.plnk", DIR),
        (".wh..wh.plnk/12.34", file("x")),
        (".wh..wh.aufs", file("")),
        (".wh..wh.orph", DIR),
        ("a", hard(".wh..wh.plnk/12.34")),
        ("b", hard("/.wh..wh.plnk/12.34")),
    ];
    assert_eq!(show(&[layer]), "/ /.wh..wh.plnk/ /.wh..wh.plnk/12.34=x:3 /a=x:3 /b=x:3");
}

#[test]
fn a_hard_links_header_changes_the_file_that_it_names() {
    let mut first = metadata(0o4755);
    first.xattrs = vec![(b"user.a".to_vec(), b"1".to_vec()), (b"user.b".to_vec(), b"1".to_vec())];
    let mut second = metadata(0o600);
    (second.uid, second.gid, second.mtime.secs) = (7, 8, 5);
    second.xattrs = vec![(b"user.b".to_vec(), b"2".to_vec())];
    let entry = |index, path: &str, kind, metadata| LayerEntry {
        index,
        path: path.as_bytes().to_vec(),
        kind,
        metadata,
    };
    let mut tree = Tree::new();
    let entries = vec![
        entry(0, "a", EntryKind::File(""), first),
        entry(1, "b", hard("a"), second.clone()),
        entry(2, "l", link("x"), metadata(0o777)),
        entry(3, "m", hard("l"), second),
    ];
    tree.apply_layer(LayerEntries { entries }).expect("merge");
    let of = |name: &[u8]| {
        let id = tree.lookup(ROOT, name).expect("a name");
        &tree.get(id).expect("node").metadata
    };
    let found = of(b"a");
    assert_eq!((found.mode, found.uid, found.gid, found.mtime.secs), (0o600, 7, 8, 5));
    let names: Vec<_> =
        found.xattrs.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
    assert_eq!(names, [(&b"user.a"[..], &b"1"[..]), (b"user.b", b"2")]);
    let found = of(b"l");
    assert_eq!((found.mode, found.uid, found.xattrs.len()), (0o777, 7, 0));
}

#[test]
fn a_directory_named_twice_in_a_layer_keeps_its_attributes_and_one_from_below_does_not() {
    let with = |name: &str, mode| {
        let mut metadata = metadata(mode);
        metadata.xattrs = vec![(name.as_bytes().to_vec(), b"1".to_vec())];
        metadata
    };
    let entry = |path: &str, name: &str, mode| LayerEntry {
        index: 0,
        path: path.as_bytes().to_vec(),
        kind: EntryKind::<&'static str>::Directory,
        metadata: with(name, mode),
    };
    let mut tree = Tree::new();
    let names = |tree: &Tree<&'static str>| {
        let node = tree.get(tree.lookup(ROOT, b"d").expect("d")).expect("node");
        let names = node.metadata.xattrs.iter().map(|(name, _)| String::from_utf8_lossy(name));
        (node.metadata.mode, names.collect::<Vec<_>>().join(" "))
    };
    let entries = vec![entry("d", "user.a", 0o755), entry("d", "user.b", 0o700)];
    tree.apply_layer(LayerEntries { entries }).expect("merge");
    assert_eq!(names(&tree), (0o700, "user.a user.b".to_owned()));
    let entries = vec![entry("d", "user.c", 0o711)];
    tree.apply_layer(LayerEntries { entries }).expect("merge");
    assert_eq!(names(&tree), (0o711, "user.c".to_owned()));
    // A directory that its layer has put something into is the layer's own.
    let inside =
        LayerEntry { index: 0, path: b"d/x".to_vec(), kind: file("x"), metadata: metadata(0o644) };
    tree.apply_layer(LayerEntries { entries: vec![inside, entry("d", "user.e", 0o755)] })
        .expect("merge");
    assert_eq!(names(&tree), (0o755, "user.c user.e".to_owned()));
}

#[test]
fn hard_links_share_inodes_across_layers() {
    let lower: &[Entry<'_>] = &[("a", file("1")), ("l", link("a")), ("d/x", file("2"))];
    let upper: &[Entry<'_>] = &[("b", hard("a")), ("d/c", hard("./a")), ("m", hard("/l"))];
    assert_eq!(show(&[lower, upper]), "/ /a=1:3 /b=1:3 /d/ /d/c=1:3 /d/x=2:1 /l->a /m->a");
    // Overwriting or removing one name leaves the others on the old inode.
    let third: &[Entry<'_>] = &[("a", file("new")), ("d/.wh.c", file(""))];
    assert_eq!(show(&[lower, upper, third]), "/ /a=new:1 /b=1:1 /d/ /d/x=2:1 /l->a /m->a");
    let same: &[Entry<'_>] = &[("a", hard("a")), ("b", hard("a")), ("b", hard("a"))];
    assert_eq!(show(&[lower, same]), "/ /a=1:2 /b=1:2 /d/ /d/x=2:1 /l->a");
    // A target seen through a link, and a link put over another name.
    let seen: &[Entry<'_>] = &[("ld", link("d")), ("a", hard("ld/x"))];
    assert_eq!(show(&[lower, seen]), "/ /a=2:2 /d/ /d/x=2:2 /l->a /ld->d");
}

#[test]
fn hard_links_without_a_target_are_refused() {
    let missing = merge(&[&[("a", file("1")), ("b", hard("nope"))]]).expect_err("refused");
    assert_eq!(missing.to_string(), "entry 1 (\"b\"): hard link target \"nope\" does not exist");
    let directory = TreeProblem::LinkToDirectory("d".into());
    assert_eq!(problem(&[&[("d", DIR), ("b", hard("d"))]]), directory);
    let inside: &[Entry<'_>] = &[("d/x", file("1")), ("d", hard("d/x"))];
    assert_eq!(problem(&[inside]), TreeProblem::LinkTargetMissing("d/x".into()));
}

#[test]
fn deep_trees_do_not_exhaust_the_stack() {
    let deep = "d/".repeat(2000);
    // Links carry paths deeper than one path may be long.
    let mut entries: Vec<LayerEntry<&'static str>> = Vec::new();
    let mut add = |path: String, kind: EntryKind<&'static str>| {
        let index = entries.len() as u64;
        entries.push(LayerEntry {
            index,
            path: path.into_bytes(),
            kind,
            metadata: metadata(0o755),
        });
    };
    add(deep.clone(), DIR);
    add("l0".into(), link(&deep));
    for step in 1..7 {
        add(format!("l{}/{deep}", step - 1), DIR);
        add(format!("l{step}"), link(&format!("l{}/{deep}", step - 1)));
    }
    let mut tree = Tree::new();
    tree.apply_layer(LayerEntries { entries }).expect("merge");
    let gone =
        LayerEntry { index: 0, path: b".wh.d".to_vec(), kind: file(""), metadata: metadata(0o644) };
    let changes = tree.apply_layer(LayerEntries { entries: vec![gone] }).expect("merge");
    assert!(changes.freed.len() == 14_000, "{}", changes.freed.len());
}

#[test]
fn a_path_may_not_make_us_walk_forever() {
    let long = "d/".repeat(1000);
    let mut layer = vec![("l0".to_owned(), link(&long))];
    for step in 1..30 {
        layer.push((format!("l{step}"), link(&format!("l{}/{long}", step - 1))));
    }
    layer.push(("l29/file".to_owned(), file("x")));
    let layer: Vec<Entry<'_>> =
        layer.iter().map(|(path, kind)| (path.as_str(), kind.clone())).collect();
    assert_eq!(problem(&[&layer]), TreeProblem::SymlinkLoop);
}
