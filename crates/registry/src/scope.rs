//! Scopes of docker tokens: `repository:<name>:<actions>` (distribution-spec, token scope).

use berth_types::RepoName;

use crate::route::Permission;

/// The right to have a mount's source found among all that the holder may read, without naming the
/// repository: a token that was asked for a few repositories only must not reach further by it.
pub(crate) const DISCOVERY: &str = "registry:blobs:mount";
pub(crate) const DISCOVERY_KIND: &str = "registry";
pub(crate) const DISCOVERY_NAME: &str = "blobs";
pub(crate) const DISCOVERY_ACTION: &str = "mount";

/// Whether [`DISCOVERY`] is among the scopes of a request.
pub(crate) fn asks_discovery<'a>(texts: impl IntoIterator<Item = &'a str>) -> bool {
    texts.into_iter().flat_map(str::split_whitespace).any(|scope| scope == DISCOVERY)
}

/// What a client asks for in one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) name: RepoName,
    pub(crate) actions: Vec<Permission>,
}

impl Scope {
    /// Reads one scope; `None` for other resource types (`registry:catalog:*`), names that no
    /// repository can have, and scopes without an action that exists: nothing is granted for them.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        // `repository(plugin)` is docker's form with a class.
        if kind != "repository" && !kind.starts_with("repository(") {
            return None;
        }
        let (name, actions) = rest.rsplit_once(':')?;
        let name = name.parse().ok()?;
        let mut found = Vec::new();
        for action in actions.split(',').map(str::trim) {
            let wanted: &[Permission] = match action {
                "*" => &[Permission::Pull, Permission::Push, Permission::Delete],
                "pull" => &[Permission::Pull],
                "push" => &[Permission::Push],
                "delete" => &[Permission::Delete],
                _ => &[],
            };
            for action in wanted {
                if !found.contains(action) {
                    found.push(*action);
                }
            }
        }
        if found.is_empty() { None } else { Some(Self { name, actions: found }) }
    }

    /// Reads every scope of a request: the parameter may be repeated and may hold several scopes
    /// with spaces between. The same repository twice becomes one scope.
    pub(crate) fn parse_all<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<Self> {
        let mut scopes: Vec<Self> = Vec::new();
        for scope in texts.into_iter().flat_map(str::split_whitespace).filter_map(Self::parse) {
            match scopes.iter_mut().find(|known| known.name == scope.name) {
                Some(known) => {
                    for action in scope.actions {
                        if !known.actions.contains(&action) {
                            known.actions.push(action);
                        }
                    }
                }
                None => scopes.push(scope),
            }
        }
        scopes
    }
}

/// The scope that a challenge names for an action: a push also reads what is there.
pub(crate) fn challenge_scope(name: &RepoName, action: Permission) -> String {
    let actions = match action {
        Permission::Pull => "pull",
        Permission::Push => "pull,push",
        Permission::Delete => "delete",
    };
    format!("repository:{name}:{actions}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes() {
        let scope = Scope::parse("repository:a/b/c:pull,push").expect("scope");
        assert_eq!(scope.name.as_str(), "a/b/c");
        assert_eq!(scope.actions, [Permission::Pull, Permission::Push]);
        let all = Scope::parse("repository:a/b:*").expect("scope");
        assert_eq!(all.actions, [Permission::Pull, Permission::Push, Permission::Delete]);
        for nothing in ["", "registry:catalog:*", "repository:a:pull", "repository:a/b:fly", "x"] {
            assert_eq!(Scope::parse(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn the_right_to_find_sources() {
        assert_eq!(DISCOVERY, [DISCOVERY_KIND, DISCOVERY_NAME, DISCOVERY_ACTION].join(":"));
        assert!(asks_discovery(["repository:a/b:pull registry:blobs:mount"]));
        assert!(!asks_discovery(["repository:a/b:pull", "registry:catalog:*"]));
    }

    #[test]
    fn several_scopes_become_one_per_repository() {
        let scopes = Scope::parse_all([
            "repository:a/b:pull repository:c/d:pull",
            "repository:a/b:pull,push",
            "registry:catalog:*",
        ]);
        assert_eq!(scopes.len(), 2);
        assert_eq!(scopes[0].actions, [Permission::Pull, Permission::Push]);
        assert_eq!(scopes[1].name.as_str(), "c/d");
    }
}
