//! A forge for tests: GitHub's interface with a state, limits, faults and webhooks.
//!
//! Test programs include this module, and unit tests include it by its path. [`ForgeServer::start`]
//! runs the server on a thread of its own. [`ForgeServer::act`] does what people do on the forge: each
//! action takes ten seconds of the forge's clock, and adds deliveries to [`World::deliveries`], which
//! [`Delivery::send`] sends in any order.
#![allow(dead_code, unused_imports, reason = "each test program uses a part of it")]

mod api;
mod app;
mod faults;
mod git;
mod json;
mod people;
mod reads;
mod webhooks;
mod world;
mod writes;

use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use faults::Fault;
pub(crate) use webhooks::Delivery;
pub(crate) use world::{Pull, World};

/// The repository of the forge.
pub(crate) const REPOSITORY: &str = "caicloud/compass-release";

/// The account that [`TOKEN`] belongs to.
pub(crate) const OWN_LOGIN: &str = "release-robot";

/// The token of [`OWN_LOGIN`].
pub(crate) const TOKEN: &str = "ghp_token-of-the-release-robot";

/// The secret of the webhooks.
pub(crate) const WEBHOOK_SECRET: &str = "secret-of-the-webhooks";

/// A running forge.
#[derive(Clone)]
pub(crate) struct ForgeServer {
    pub(crate) url: String,
    world: Arc<Mutex<World>>,
}

impl ForgeServer {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        listener.set_nonblocking(true).unwrap();
        let world = Arc::new(Mutex::new(World::new(&url)));
        let shared = Arc::clone(&world);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, api::router(shared)).await.unwrap();
            });
        });
        Self { url, world }
    }

    /// Acts on the forge, or reads its state.
    pub(crate) fn act<T>(&self, action: impl FnOnce(&mut World) -> T) -> T {
        action(&mut self.world())
    }

    /// The environment of a command that uses this forge.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("GITHUB_API_URL", self.url.clone()),
            ("GITHUB_TOKEN", TOKEN.to_owned()),
            ("GITHUB_REPOSITORY", REPOSITORY.to_owned()),
            ("COMPASS_FORGE_WRITE_INTERVAL", "0".to_owned()),
            ("COMPASS_WEBHOOK_SECRET", WEBHOOK_SECRET.to_owned()),
        ]
    }

    /// Sends a webhook for everything that happens from now on.
    pub(crate) fn send_webhooks_to(&self, url: &str) {
        let hook = webhooks::Hook { url: url.to_owned(), secret: WEBHOOK_SECRET.to_owned() };
        self.act(|world| world.hook = Some(hook));
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
