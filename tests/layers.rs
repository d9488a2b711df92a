//! The layers of the crate: which module may use which, and no dependency cycle among files.
//!
//! The table below is the one in ARCHITECTURE.md. What a file uses is read from its `use` items and from
//! its paths that begin with `crate` or `super`; tests within files are left out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use syn::{
    Attribute, File, Item, ItemMod, ItemUse, UseTree, Visibility,
    visit::{self, Visit},
};

/// Every module, from the bottom up, and what it may use.
const LAYERS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("pixels", &[]),
    ("setting", &["error"]),
    ("image", &["error", "pixels"]),
    ("device", &["error"]),
    ("rng", &["device"]),
    ("diagnostics", &["error"]),
    ("nn", &["device", "error", "rng"]),
    ("energy", &["device", "error", "rng"]),
    (
        "sampler",
        &["device", "diagnostics", "energy", "error", "rng", "setting"],
    ),
    ("artifact", &["error"]),
    ("data", &["error", "pixels"]),
    (
        "train",
        &[
            "artifact",
            "data",
            "device",
            "diagnostics",
            "energy",
            "error",
            "image",
            "rng",
            "sampler",
        ],
    ),
    (
        "system",
        &[
            "artifact", "data", "device", "energy", "error", "nn", "pixels", "rng", "sampler",
            "train",
        ],
    ),
    (
        "session",
        &[
            "artifact",
            "device",
            "diagnostics",
            "energy",
            "error",
            "nn",
            "pixels",
            "rng",
            "sampler",
            "setting",
            "system",
        ],
    ),
    (
        "eval",
        &[
            "artifact", "data", "device", "energy", "error", "image", "nn", "pixels", "rng",
            "session", "system", "train",
        ],
    ),
    (
        "contract",
        &[
            "artifact",
            "diagnostics",
            "error",
            "sampler",
            "session",
            "setting",
            "system",
        ],
    ),
    (
        "web",
        &["artifact", "device", "error", "rng", "session", "system"],
    ),
    (
        "cli",
        &[
            "artifact",
            "contract",
            "data",
            "device",
            "diagnostics",
            "energy",
            "error",
            "eval",
            "image",
            "nn",
            "pixels",
            "rng",
            "sampler",
            "session",
            "setting",
            "system",
            "train",
        ],
    ),
];

type Names = Vec<String>;

/// One file: its module path, what it uses, and what it re-exports under which name.
struct Source {
    module: Names,
    uses: BTreeSet<Names>,
    exports: BTreeMap<String, Names>,
}

fn for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|a| {
        let list = a.path().is_ident("cfg").then(|| a.meta.require_list());
        let words = |list: &syn::MetaList| list.tokens.to_string();
        list.and_then(Result::ok).is_some_and(|list| {
            words(list)
                .split(|c: char| !c.is_alphanumeric())
                .any(|w| w == "test")
        })
    })
}

/// The leaves of a use tree, with their local names.
fn leaves(tree: &UseTree, mut prefix: Names, to: &mut Vec<(Names, String)>) {
    match tree {
        UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            leaves(&path.tree, prefix, to);
        }
        UseTree::Name(name) if name.ident == "self" => {
            let last = prefix.last().cloned().unwrap_or_default();
            to.push((prefix, last));
        }
        UseTree::Name(name) => {
            prefix.push(name.ident.to_string());
            to.push((prefix, name.ident.to_string()));
        }
        UseTree::Rename(name) => {
            prefix.push(name.ident.to_string());
            to.push((prefix, name.rename.to_string()));
        }
        UseTree::Glob(_) => to.push((prefix, "*".into())),
        UseTree::Group(group) => {
            for tree in &group.items {
                leaves(tree, prefix.clone(), to);
            }
        }
    }
}

impl Source {
    /// `crate::…`, `super::…` or `self::…` as a path from the crate's root.
    fn absolute(&self, path: &[String]) -> Option<Names> {
        let mut from = match path.first()?.as_str() {
            "crate" => return Some(path[1..].to_vec()),
            "self" => self.module.clone(),
            "super" => self.module[..self.module.len().checked_sub(1)?].to_vec(),
            _ => return None,
        };
        let mut rest = &path[1..];
        while rest.first().is_some_and(|p| p == "super") {
            from.pop()?;
            rest = &rest[1..];
        }
        from.extend_from_slice(rest);
        Some(from)
    }
}

impl<'ast> Visit<'ast> for Source {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Mod(i) => &i.attrs,
            Item::Fn(i) => &i.attrs,
            Item::Use(i) => &i.attrs,
            Item::Impl(i) => &i.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        visit::visit_item_mod(self, item);
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let mut all = Vec::new();
        leaves(&item.tree, Vec::new(), &mut all);
        let public = !matches!(item.vis, Visibility::Inherited);
        for (path, name) in all {
            let absolute = match self.absolute(&path) {
                Some(path) => path,
                // A child module that is named without `self`.
                None if public => [&self.module[..], &path].concat(),
                None => continue,
            };
            if public {
                self.exports.insert(name, absolute);
            } else {
                self.uses.insert(absolute);
            }
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Names = path.segments.iter().map(|s| s.ident.to_string()).collect();
        if let Some(path) = self.absolute(&names) {
            self.uses.insert(path);
        }
        visit::visit_path(self, path);
    }
}

fn walk(folder: &Path, to: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, to);
        } else if path.extension().is_some_and(|e| e == "rs") {
            to.push(path);
        }
    }
}

/// Every file of `src/`, by its module path.
fn sources() -> BTreeMap<Names, Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    let mut all = BTreeMap::new();
    for path in paths {
        let relative = path.strip_prefix(&root).unwrap().with_extension("");
        let mut module: Names = relative
            .iter()
            .map(|part| part.to_string_lossy().into_owned())
            .collect();
        if module.last().is_some_and(|m| m == "mod") {
            module.pop();
        }
        if ["lib", "main", "bin"].contains(&module[0].as_str()) {
            continue;
        }
        let file: File = syn::parse_file(&fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut source = Source {
            module: module.clone(),
            uses: BTreeSet::new(),
            exports: BTreeMap::new(),
        };
        source.visit_file(&file);
        all.insert(module, source);
    }
    all
}

/// The file that a path resolves to, through re-exports.
fn file_of(path: &[String], sources: &BTreeMap<Names, Source>) -> Option<Names> {
    let mut path = path.to_vec();
    for _ in 0..8 {
        let length = (1..=path.len())
            .rev()
            .find(|&n| sources.contains_key(&path[..n]))?;
        let exported = path
            .get(length)
            .and_then(|name| sources[&path[..length]].exports.get(name));
        match exported {
            Some(target) => path = [&target[..], &path[length + 1..]].concat(),
            None => return Some(path[..length].to_vec()),
        }
    }
    None
}

#[test]
fn modules_use_only_modules_below_them() {
    let sources = sources();
    let mut below = BTreeSet::new();
    for (module, allowed) in LAYERS {
        for name in *allowed {
            assert!(below.contains(name), "{module} is listed before {name}");
        }
        below.insert(*module);
    }
    let mut wrong = Vec::new();
    for source in sources.values() {
        let here = source.module[0].as_str();
        let Some((_, allowed)) = LAYERS.iter().find(|(module, _)| *module == here) else {
            panic!("{here} has no place in LAYERS");
        };
        for path in &source.uses {
            let there = path.first().map_or("", String::as_str);
            if there != here && below.contains(there) && !allowed.contains(&there) {
                wrong.push(format!(
                    "{} uses {}",
                    source.module.join("::"),
                    path.join("::")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_form_no_dependency_cycle() {
    let sources = sources();
    let mut arrows: BTreeMap<&Names, BTreeSet<Names>> = BTreeMap::new();
    for source in sources.values() {
        let to = source.uses.iter().filter_map(|p| file_of(p, &sources));
        let to = to.filter(|file| *file != source.module).collect();
        arrows.insert(&source.module, to);
    }
    // Removes files that use none of the remaining files; what remains contains a cycle.
    loop {
        let free: Vec<Names> = arrows
            .iter()
            .filter(|(_, to)| to.iter().all(|file| !arrows.contains_key(file)))
            .map(|(file, _)| (*file).clone())
            .collect();
        if free.is_empty() {
            break;
        }
        arrows.retain(|file, _| !free.contains(file));
    }
    // Files that only lead into a cycle are not part of it.
    while let Some(file) = arrows
        .keys()
        .find(|file| !arrows.values().any(|to| to.contains(**file)))
        .copied()
    {
        arrows.remove(file);
    }
    let shown: Vec<String> = arrows
        .iter()
        .map(|(file, to)| {
            let to: Vec<String> = to
                .iter()
                .filter(|t| arrows.contains_key(t))
                .map(|t| t.join("::"))
                .collect();
            format!("{} → {}", file.join("::"), to.join(", "))
        })
        .collect();
    assert!(shown.is_empty(), "{}", shown.join("\n"));
}

#[test]
fn the_table_matches_architecture_md() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
    let text = fs::read_to_string(path).unwrap();
    let rows: Vec<(String, String)> = text
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let module = cells.get(1)?.strip_prefix('`')?.strip_suffix('`')?;
            Some((module.to_owned(), (*cells.get(3)?).to_owned()))
        })
        .collect();
    let expected: Vec<(String, String)> = LAYERS
        .iter()
        .map(|(module, allowed)| {
            let allowed = match allowed.is_empty() {
                true => "–".to_owned(),
                false => allowed.join(", "),
            };
            ((*module).to_owned(), allowed)
        })
        .collect();
    assert_eq!(rows, expected);
}
