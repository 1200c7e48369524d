//! Finding directories through symbolic links that never leave the root.

use std::borrow::Cow;

use super::error::TreeProblem;
use super::node::{Node, NodeId, NodeKind, ROOT};
use super::{Tree, implicit_metadata};
use crate::layer::Metadata;

const SET_GROUP_ID: u16 = 0o2000;

/// As many links as the unpackers follow.
const MAX_SYMLINKS: usize = 255;
/// Bound on the components of one path with all its links: what a layer may make us walk for an
/// entry of 512 bytes.
const MAX_STEPS: usize = 16_384;

/// How far a path could be followed.
struct Reached {
    directory: NodeId,
    /// Components below `directory` that do not exist.
    missing: Vec<Vec<u8>>,
}

impl<F> Tree<F> {
    /// The directory that `components` lead to, or `None` when it is not there.
    pub(super) fn find_directory(
        &self,
        components: &[&[u8]],
    ) -> Result<Option<NodeId>, TreeProblem> {
        match self.follow(components) {
            Ok(reached) => Ok(reached.missing.is_empty().then_some(reached.directory)),
            Err(TreeProblem::ParentNotDirectory(_)) => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    /// The directory that `components` lead to; what is missing on the way is made.
    pub(super) fn make_parents(&mut self, components: &[&[u8]]) -> Result<NodeId, TreeProblem> {
        let reached = self.follow(components)?;
        let mut directory = reached.directory;
        for name in &reached.missing {
            // Something else of this name, which a lower layer brought, gives way.
            self.unlink(directory, name);
            let made = self.make_directory(directory, self.implicit_in(directory));
            self.link(directory, name, made).ok_or(TreeProblem::TooManyInodes)?;
            directory = made;
        }
        Ok(directory)
    }

    fn follow(&self, components: &[&[u8]]) -> Result<Reached, TreeProblem> {
        let mut reached = Reached { directory: ROOT, missing: Vec::new() };
        let mut links = 0;
        let mut steps = 0;
        let mut pending: Vec<Cow<'_, [u8]>> =
            components.iter().rev().map(|name| Cow::Borrowed(*name)).collect();
        while let Some(name) = pending.pop() {
            steps += 1;
            if steps > MAX_STEPS {
                return Err(TreeProblem::SymlinkLoop);
            }
            match &*name {
                b"" | b"." => continue,
                b".." => {
                    if reached.missing.pop().is_none() {
                        reached.directory = self.parent_of(reached.directory);
                    }
                    continue;
                }
                _ => {}
            }
            if !reached.missing.is_empty() {
                reached.missing.push(checked_name(&name)?);
                continue;
            }
            let Some(child) = self.lookup(reached.directory, &name) else {
                reached.missing.push(checked_name(&name)?);
                continue;
            };
            match self.get(child).map(|node| &node.kind) {
                Some(NodeKind::Directory(_)) => reached.directory = child,
                Some(NodeKind::Symlink(target)) => {
                    links += 1;
                    if links > MAX_SYMLINKS {
                        return Err(TreeProblem::SymlinkLoop);
                    }
                    if target.first() == Some(&b'/') {
                        reached.directory = ROOT;
                    }
                    pending.extend(
                        target.split(|byte| *byte == b'/').rev().map(Cow::<[u8]>::Borrowed),
                    );
                }
                _ if self.is_lower(reached.directory, &name) => {
                    reached.missing.push(name.into_owned());
                }
                _ => {
                    let name = String::from_utf8_lossy(&name).into_owned();
                    return Err(TreeProblem::ParentNotDirectory(name));
                }
            }
        }
        Ok(reached)
    }

    /// Whether a layer below the current one brought the name.
    fn is_lower(&self, directory: NodeId, name: &[u8]) -> bool {
        let names = self.get(directory).and_then(Node::as_directory);
        names.and_then(|names| names.entries.get(name)).is_some_and(|one| one.layer != self.layer)
    }

    /// What a directory gets that no layer describes; in one with the set-group-ID bit its group is
    /// that one's, as the kernel has it.
    fn implicit_in(&self, directory: NodeId) -> Metadata {
        let parent = self.get(directory).map(|node| &node.metadata);
        let gid = parent.filter(|parent| parent.mode & SET_GROUP_ID != 0).map(|parent| parent.gid);
        Metadata { gid: gid.unwrap_or_default(), ..implicit_metadata() }
    }

    fn parent_of(&self, directory: NodeId) -> NodeId {
        self.get(directory).and_then(Node::as_directory).map_or(ROOT, |dir| dir.parent)
    }
}

fn checked_name(name: &[u8]) -> Result<Vec<u8>, TreeProblem> {
    if name.len() > 255 { Err(TreeProblem::NameTooLong) } else { Ok(name.to_vec()) }
}
