//! The routes, and the count of answered requests of each.

use crate::pool::operation::OperationKind;
use crate::stats::Counter;

/// The route of a request. The list is fixed: a label of a metric never comes from a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Page,
    Style,
    Livez,
    Readyz,
    Metrics,
    State,
    Reload,
    Scale,
    Restart,
    Stop,
    Start,
    Strategy,
    Message,
    Shutdown,
    /// A path that does not exist.
    Other,
}

impl Route {
    pub(super) const ALL: [Route; 15] = [
        Route::Page,
        Route::Style,
        Route::Livez,
        Route::Readyz,
        Route::Metrics,
        Route::State,
        Route::Reload,
        Route::Scale,
        Route::Restart,
        Route::Stop,
        Route::Start,
        Route::Strategy,
        Route::Message,
        Route::Shutdown,
        Route::Other,
    ];

    /// Returns the route of a command on a pool.
    pub(super) const fn of_verb(verb: OperationKind) -> Self {
        match verb {
            OperationKind::Reload => Route::Reload,
            OperationKind::Scale => Route::Scale,
            OperationKind::Restart => Route::Restart,
            OperationKind::Stop => Route::Stop,
            OperationKind::Start => Route::Start,
            OperationKind::Strategy => Route::Strategy,
        }
    }

    /// Returns the route's name in metrics.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Route::Page => "page",
            Route::Style => "style",
            Route::Livez => "livez",
            Route::Readyz => "readyz",
            Route::Metrics => "metrics",
            Route::State => "state",
            Route::Reload => OperationKind::Reload.name(),
            Route::Scale => OperationKind::Scale.name(),
            Route::Restart => OperationKind::Restart.name(),
            Route::Stop => OperationKind::Stop.name(),
            Route::Start => OperationKind::Start.name(),
            Route::Strategy => OperationKind::Strategy.name(),
            Route::Message => "message",
            Route::Shutdown => "shutdown",
            Route::Other => "other",
        }
    }

    /// Returns every status that the route may answer with.
    pub(super) const fn codes(self) -> &'static [u16] {
        match self {
            Route::Page | Route::Style | Route::Livez => &[200, 403, 405, 413],
            Route::Readyz => &[200, 403, 405, 413, 503],
            Route::Metrics | Route::State => &[200, 403, 405, 413, 500],
            Route::Reload => &[200, 400, 403, 404, 405, 408, 409, 413, 415, 422, 503],
            Route::Scale | Route::Restart | Route::Stop | Route::Start | Route::Strategy | Route::Message => {
                &[200, 400, 403, 404, 405, 408, 409, 413, 415, 503]
            }
            Route::Shutdown => &[200, 400, 403, 405, 408, 409, 413, 415, 503],
            Route::Other => &[403, 404, 413],
        }
    }
}

/// Answered requests by route and status.
#[derive(Debug)]
pub(super) struct Requests(Vec<(Route, u16, Counter)>);

impl Default for Requests {
    fn default() -> Self {
        let of = |route: Route| route.codes().iter().map(move |&code| (route, code, Counter::default()));
        Self(Route::ALL.into_iter().flat_map(of).collect())
    }
}

impl Requests {
    /// Counts one answer.
    pub(super) fn count(&self, route: Route, code: u16) {
        let found = self.0.iter().find(|(known, status, _)| (*known, *status) == (route, code));
        debug_assert!(found.is_some(), "{code} is not listed for {route:?}");
        if let Some((_, _, counter)) = found {
            counter.increment();
        }
    }

    /// Returns every pair of route and status with its count.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Route, u16, u64)> {
        self.0.iter().map(|(route, code, counter)| (*route, *code, counter.get()))
    }
}
