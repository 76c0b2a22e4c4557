//! The port of the gRPC API, with the services beside it: health and reflection.

use super::build::Built;
use super::probes;
use crate::admission::{Entrance, Refused};
use crate::api::grpc::{GrpcApi, SERVICE};
use crate::api::stats::Via;
use crate::config::Config;
use crate::grpc::{self, Health, Reflection};
use crate::http::{Answer, Opened, Peer, Service};
use http::Request;
use hyper::body::Incoming;
use spinward::wire::ws::request::Head;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;

/// The services of the port.
pub(super) struct GrpcPort {
    api: GrpcApi,
    health: Option<Health>,
    reflection: Option<Reflection>,
    stop: watch::Receiver<bool>,
}

impl GrpcPort {
    /// The services that the configuration enables. Streams end when `stop` changes.
    pub(super) fn new(config: &Config, built: &Built, stop: watch::Receiver<bool>) -> Self {
        let options = &config.grpc_api;
        let (settings, refusals) = (built.grpc.clone(), Arc::clone(&built.refusals));
        let (node, admission) = (built.node.clone(), built.admission.clone());
        let health =
            config.health.enabled.then(|| Health::new(SERVICE, move || probes::is_ready(&node, &admission)));
        Self {
            api: GrpcApi::new(built.api.via(Via::Grpc), settings, refusals, options.max_receive_message_size),
            health,
            reflection: options.reflection.then(Reflection::new),
            stop,
        }
    }

    async fn call(&self, request: Request<Incoming>) -> Result<Answer, Answer> {
        let (parts, body) = request.into_parts();
        let (service, method) = grpc::called(&parts)?;
        let answer = match (&self.health, &self.reflection) {
            _ if service == SERVICE => self.api.answer(method, &parts.headers, body).await,
            // These two need no key: probes have none, and the schema is public.
            (Some(health), _) if Health::is_named(service) => {
                Box::pin(health.answer(method, body, self.stop.clone())).await
            }
            (_, Some(reflection)) if Reflection::is_named(service) => {
                reflection.answer(method, body, self.stop.clone())
            }
            _ => Err(grpc::unknown_service(service)),
        };
        answer.map_err(|status| status.answer())
    }
}

impl Service for GrpcPort {
    fn enter(&self, _: SocketAddr) -> Result<Option<Entrance>, Refused> {
        Ok(None)
    }

    fn open(&self, _: &Head<'_>, _: &Peer) -> Opened {
        Opened::Pass
    }

    async fn answer(&self, request: Request<Incoming>, _: &Peer) -> Answer {
        self.call(request).await.unwrap_or_else(|answer| answer)
    }
}
