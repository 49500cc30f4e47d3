//! Upload sessions that are open before their upload begins.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use reqwest::Url;

use crate::{Digest, Repository};

/// Upload sessions of repositories. Each is for one blob, or for any blob of its repository.
#[derive(Debug, Default)]
pub(super) struct PendingUploads(Mutex<HashMap<(Repository, Option<Digest>), Url>>);

impl PendingUploads {
    /// Adds a session. Returns the one that it replaces.
    pub(super) fn add(
        &self,
        repository: &Repository,
        blob: Option<Digest>,
        session: Url,
    ) -> Option<Url> {
        self.sessions().insert((repository.clone(), blob), session)
    }

    /// Removes the session for exactly this blob.
    pub(super) fn take_own(&self, repository: &Repository, blob: Digest) -> Option<Url> {
        self.sessions().remove(&(repository.clone(), Some(blob)))
    }

    /// Removes a session that an upload of this blob may use.
    pub(super) fn take(&self, repository: &Repository, blob: Digest) -> Option<Url> {
        let own = self.take_own(repository, blob);
        own.or_else(|| self.sessions().remove(&(repository.clone(), None)))
    }

    /// Removes a session for any blob. Returns `false` if it is used or replaced.
    pub(super) fn remove(&self, repository: &Repository, session: &Url) -> bool {
        let (key, mut sessions) = ((repository.clone(), None), self.sessions());
        let is_unused = sessions.get(&key) == Some(session);
        if is_unused {
            sessions.remove(&key);
        }
        is_unused
    }

    /// Removes all sessions.
    pub(super) fn take_all(&self) -> Vec<(Repository, Url)> {
        let sessions = std::mem::take(&mut *self.sessions());
        sessions.into_iter().map(|((repository, _), session)| (repository, session)).collect()
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<(Repository, Option<Digest>), Url>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn take_prefers_session_of_blob() {
        let (name, blob) = ("a/b".parse().unwrap(), Digest::of(b"blob"));
        let url = |text: &str| Url::parse(text).unwrap();
        let (any, own) = (url("http://a/any"), url("http://a/own"));
        let sessions = PendingUploads::default();
        assert_eq!(sessions.add(&name, None, any.clone()), None);
        assert_eq!(sessions.add(&name, Some(blob), own.clone()), None);
        assert_eq!(sessions.take(&name, blob), Some(own));
        assert_eq!(sessions.take_own(&name, blob), None);
        assert_eq!(sessions.take(&name, blob), Some(any.clone()));
        assert_eq!(sessions.take(&name, blob), None);
        sessions.add(&name, None, url("http://a/left"));
        assert!(!sessions.remove(&name, &any));
        assert_eq!(sessions.take_all(), [(name, url("http://a/left"))]);
    }
}
