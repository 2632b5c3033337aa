//! The server names of one SSLApp. A name decides which certificate a handshake gets, and which router its
//! requests go to.
//!
//! The loop thread owns the table. A change applies to later handshakes: connections keep the settings and
//! the router they have.

use super::config::Settings;
use crate::routing::router::Router;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// The routes of one name. Its connections share them, and keep them when the name is removed.
pub type DomainRouter = Rc<RefCell<Router>>;

/// A change that JavaScript asks for.
pub enum Change {
    /// Adds a name or replaces its certificate; without one the app's own is used.
    Add {
        name: String,
        settings: Option<Arc<Settings>>,
    },
    Remove {
        name: String,
    },
    /// From here on JavaScript is asked for names that are missing.
    AskForMissing,
}

pub struct Names {
    default: Option<Arc<Settings>>,
    /// By name in lower case; `*` may stand for the left-most label.
    names: HashMap<String, Name>,
    asks: bool,
}

struct Name {
    settings: Option<Arc<Settings>>,
    router: DomainRouter,
}

pub struct Choice {
    pub settings: Option<Arc<Settings>>,
    /// `None`: the app's own router.
    pub router: Option<DomainRouter>,
}

impl Names {
    pub fn new(default: Option<Arc<Settings>>) -> Self {
        Names { default, names: HashMap::new(), asks: false }
    }

    /// Returns the router of a name that is removed, which connections may still have.
    pub fn change(&mut self, change: Change) -> Option<DomainRouter> {
        match change {
            Change::Add { name, settings } => match self.names.get_mut(&name) {
                Some(known) => known.settings = settings,
                None => {
                    self.names.insert(name, Name { settings, router: DomainRouter::default() });
                }
            },
            Change::Remove { name } => return self.names.remove(&name).map(|name| name.router),
            Change::AskForMissing => self.asks = true,
        }
        None
    }

    /// The router of a name, exactly as it was added.
    pub fn router(&self, name: &str) -> Option<&DomainRouter> {
        self.names.get(name).map(|name| &name.router)
    }

    /// Whether the loop has to ask JavaScript before it goes on with a handshake for this name.
    pub fn asks_for(&self, name: &str) -> bool {
        self.asks && self.find(name).is_none()
    }

    /// The settings and the router of a handshake that asks for `name`.
    pub fn choose(&self, name: Option<&str>) -> Choice {
        match name.and_then(|name| self.find(name)) {
            Some(found) => Choice {
                settings: found.settings.clone().or_else(|| self.default.clone()),
                router: Some(found.router.clone()),
            },
            None => Choice { settings: self.default.clone(), router: None },
        }
    }

    fn find(&self, name: &str) -> Option<&Name> {
        let name = name.to_ascii_lowercase();
        self.names.get(&name).or_else(|| match name.split_once('.') {
            Some((_, parent)) => self.names.get(&format!("*.{parent}")),
            None => self.names.get("*"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::router::{Method, Priority};

    fn names(of: &[&str]) -> Names {
        let mut names = Names::new(None);
        for name in of {
            names.change(Change::Add { name: (*name).to_owned(), settings: None });
        }
        names
    }

    #[test]
    fn a_star_stands_for_exactly_one_label_and_the_exact_name_goes_first() {
        let names = names(&["a.example", "*.example", "*"]);
        let same = |asked: &str, name: &str| {
            let (Some(found), Some(named)) = (names.choose(Some(asked)).router, names.router(name)) else {
                return false;
            };
            Rc::ptr_eq(&found, named)
        };
        assert!(same("a.example", "a.example"));
        assert!(same("A.Example", "a.example"));
        assert!(same("b.example", "*.example"));
        assert!(same("localhost", "*"));
        for unknown in ["a.b.example", "example.org", ""] {
            assert!(!same(unknown, "*.example") && !same(unknown, "a.example"), "{unknown}");
        }
        assert!(names.choose(None).router.is_none());
    }

    #[test]
    fn a_replaced_certificate_keeps_the_routes_and_a_removed_name_keeps_them_for_its_connections() {
        let mut names = names(&["a.example"]);
        let router = names.choose(Some("a.example")).router.expect("router");
        router.borrow_mut().add(Method::Get, b"/", Priority::Medium, 1);
        names.change(Change::Add { name: "a.example".into(), settings: None });
        assert!(!names.choose(Some("a.example")).router.expect("router").borrow().is_empty());
        let removed = names.change(Change::Remove { name: "a.example".into() });
        assert!(removed.is_some_and(|removed| Rc::ptr_eq(&removed, &router)));
        assert!(names.change(Change::Remove { name: "a.example".into() }).is_none());
        assert!(names.choose(Some("a.example")).router.is_none());
        assert!(!router.borrow().is_empty());
    }

    #[test]
    fn javascript_is_asked_for_unknown_names_only() {
        let mut names = names(&["a.example"]);
        assert!(!names.asks_for("b.example"));
        names.change(Change::AskForMissing);
        assert!(names.asks_for("b.example") && !names.asks_for("a.example"));
    }
}
