//! Limits and faults of the forge.

/// A fault of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// 403 until the hourly limit is reset, in this number of seconds.
    HourlyLimit(u64),
    /// 403 for too many requests in a short time, with or without `Retry-After`.
    SecondaryLimit(Option<u64>),
    /// 429 with `Retry-After`.
    TooManyRequests(u64),
    /// 403 for a missing permission, which the headers name.
    NoPermission(&'static str),
    /// A status with a message.
    Status(u16, &'static str),
    /// The connection breaks, and nothing was done.
    Breaks,
    /// The connection breaks after it was done.
    LosesAnswer,
    /// 200 with a body that is not JSON.
    NotJson,
    /// The next page is on another server.
    ForeignPage,
}

/// A fault, and the requests that have it.
#[derive(Debug, Clone)]
struct Planned {
    method: &'static str,
    path: String,
    fault: Fault,
    times: usize,
}

/// The faults of the next requests.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Planned>);

impl Faults {
    /// Plans a fault for the next requests with this method whose path contains a text.
    pub(crate) fn plan(&mut self, method: &'static str, path: &str, fault: Fault, times: usize) {
        self.0.push(Planned { method, path: path.to_owned(), fault, times });
    }

    /// Takes the fault of a request.
    pub(super) fn take(&mut self, method: &str, path: &str) -> Option<Fault> {
        let applies =
            |one: &&mut Planned| one.times > 0 && one.method == method && path.contains(&one.path);
        let planned = self.0.iter_mut().find(applies)?;
        planned.times -= 1;
        Some(planned.fault.clone())
    }

    /// Drops the planned faults.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
