//! What the options are together: each may be sound and the whole still make no sense.

use std::net::SocketAddr;

use chord_net_quic::POSITIONS_MAX;

use super::{ConfigError, Loaded, Origin, StoreSetting};

impl Loaded {
    /// Whether a node can be started with this.
    ///
    /// # Errors
    /// The first thing that makes no sense.
    pub fn check(&self) -> Result<(), ConfigError> {
        // What was said wrongly before what was not said at all.
        self.check_ring()?;
        self.check_servers()?;
        self.check_node()?;
        self.check_store()?;
        self.check_files()
    }

    fn check_node(&self) -> Result<(), ConfigError> {
        let node = &self.settings.node;
        if !(1..=POSITIONS_MAX).contains(&node.positions) {
            let message = format!("{}: choose 1 to {POSITIONS_MAX}", node.positions);
            return Err(self.error("node.virtual", message));
        }
        let wildcard = |at: SocketAddr| at.ip().is_unspecified();
        match node.advertise {
            None if wildcard(node.listen) => {
                let message = format!(
                    "{} is every address of this host, and nobody can dial that: name the one \
                     that other nodes reach, {}",
                    node.listen,
                    self.setting("node.advertise", "IP:PORT")
                );
                Err(self.error("node.listen", message))
            }
            Some(at) if wildcard(at) => {
                let message = format!("nobody can dial {at}: write the ip:port that nodes reach");
                Err(self.error("node.advertise", message))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// A store on disk needs to be told where.
    fn check_store(&self) -> Result<(), ConfigError> {
        if self.settings.node.data_dir.is_some() || self.settings.store == StoreSetting::Memory {
            return Ok(());
        }
        let message = format!(
            "\"redb\" keeps records in {}, which is not set: set it, or write \"memory\"",
            self.called("node.data_dir")
        );
        Err(self.error("store.kind", message))
    }

    /// Whoever chose neither a store nor a place for one gets one in memory.
    pub(super) fn choose_store(&mut self) {
        let chosen = self.origin("store.kind") != Origin::Default;
        if self.settings.node.data_dir.is_none() && !chosen {
            self.settings.store = StoreSetting::Memory;
        }
    }

    fn check_files(&self) -> Result<(), ConfigError> {
        let tls = &self.settings.tls;
        let files = [
            ("tls.ca", &tls.ca),
            ("tls.cert", &tls.cert),
            ("tls.key", &tls.key),
            ("tls.crl", &tls.crl),
        ];
        for (name, file) in files {
            if file.as_os_str().is_empty() {
                let message = "not set; a node needs ca, cert, key and crl: `dht-cli ca init` \
                               and `dht-cli cert issue` make them";
                return Err(self.error(name, message));
            }
        }
        Ok(())
    }

    fn check_ring(&self) -> Result<(), ConfigError> {
        self.settings.ring.validate().map_err(|error| {
            // The core names the option first, and knows no places.
            let message = error.to_string();
            let key = message.split([' ', ':']).next().unwrap_or_default();
            let origin = self.origin(&format!("ring.{key}"));
            match origin {
                Origin::Flag(_) => {
                    let rest = message[key.len()..].trim_start_matches([' ', '=', ':']);
                    ConfigError::at(&origin, rest)
                }
                _ => ConfigError::at(&origin, format!("ring.{message}")),
            }
        })
    }

    /// Plain text stays on this host, unless somebody insists; no two servers on one port.
    fn check_servers(&self) -> Result<(), ConfigError> {
        let api = &self.settings.api;
        let servers = [
            ("tcp", api.tcp, api.insecure_plain_tcp),
            ("http", api.http, api.insecure_plain_http),
            ("grpc", api.grpc, api.insecure_plain_grpc),
        ];
        for (server, address, insecure) in servers {
            let Some(address) = address else { continue };
            if !address.ip().is_loopback() && !api.tls && !insecure {
                let message = format!(
                    "{address} can be reached from other hosts. Say {} (clients then need \
                     certificates of the cluster), or {} if everybody who reaches it may read \
                     and write",
                    self.setting("api.tls", "true"),
                    self.setting(&format!("api.insecure_plain_{server}"), "true"),
                );
                return Err(self.error(&format!("api.{server}"), message));
            }
        }
        for (later, (server, address, _)) in servers.iter().enumerate() {
            let Some(address) = address.filter(|address| address.port() != 0) else {
                continue;
            };
            let taken = servers[..later]
                .iter()
                .find(|(_, at, _)| *at == Some(address));
            if let Some((other, ..)) = taken {
                let name = self.called(&format!("api.{other}"));
                let message = format!("{address} is {name} already: choose another port");
                return Err(self.error(&format!("api.{server}"), message));
            }
        }
        Ok(())
    }

    /// What deserves a line though nothing is wrong.
    pub(super) fn remark(&mut self) {
        if self.settings.node.data_dir.is_none() {
            self.notes.push(format!(
                "{} is not set: records are kept in memory, and after a restart this node has \
                 none and will not remember whom it knew; without {} it then founds a new ring",
                self.called("node.data_dir"),
                self.called("node.join"),
            ));
        }
    }
}
