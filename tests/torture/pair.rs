//! Two nodes that share a ledger on PostgreSQL, each with a state directory and settings of its own.

use super::bank::{Node, Place, free_address};
use super::judge;
use crate::stage::cluster::Cluster;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

pub struct Pair {
    pub place: Place,
    pub cluster: Mutex<Cluster>,
    pub nodes: [Node; 2],
    states: [PathBuf; 2],
    /// The case of each customer that was acknowledged.
    told: Mutex<BTreeMap<String, String>>,
}

impl Pair {
    /// `banks` are where the nodes find the bank; at its own address, if none are given.
    pub fn new(banks: impl Fn(&Place) -> [SocketAddr; 2]) -> Self {
        let place = Place::new();
        let cluster = Cluster::with(&["fsync=on"]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(cluster.run("CREATE DATABASE ledger"));
        runtime.block_on(cluster.run("CREATE DATABASE keys"));
        let secrets = cluster.folder.path();
        std::fs::write(secrets.join("master.key"), "0f".repeat(32)).unwrap();
        place.set(
            "# master_key = \"/run",
            &format!("master_key = \"{}\" # /run", secrets.join("master.key").display()),
        );
        place.set("hosts = [", &format!("hosts = [\"{}\", ", cluster.host()));
        let mut text = std::fs::read_to_string(&place.config).unwrap();
        for (section, name) in [("postgres", "ledger"), ("key_database", "keys")] {
            let (host, password) = (cluster.host(), secrets.join("admin").display().to_string());
            text.push_str(&format!(
                "\n[ledger.{section}]\nurl = \"postgres://admin@{host}/{name}\"\npassword_file = \"{password}\"\n"
            ));
        }
        std::fs::write(&place.config, &text).unwrap();
        let configs = banks(&place).map(|bank| {
            let config = place.at(&format!("config/{}.toml", bank.port()));
            std::fs::write(&config, text.replace(&place.bank.address.to_string(), &bank.to_string()))
                .unwrap();
            config.to_str().unwrap().to_owned()
        });
        let states = ["one", "two"].map(|name| place.state(name));
        let serve = |at: usize| {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "KILL"]);
            let mut node = place.serve_under(command, &states[at], free_address(), &configs[at]);
            assert!(node.ready(), "{}", std::fs::read_to_string(place.at("serve.log")).unwrap());
            node
        };
        let one = serve(0);
        std::fs::create_dir_all(states[1].join("keys")).unwrap();
        std::fs::copy(states[0].join("keys/log.key"), states[1].join("keys/log.key")).unwrap();
        let nodes = [one, serve(1)];
        Self { cluster: Mutex::new(cluster), nodes, states, told: Mutex::default(), place }
    }

    pub fn told(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.told.lock().unwrap()
    }

    /// Sends messages to one node, each until it is acknowledged. What a node cannot do now it can do later.
    pub fn write(&self, node: usize, pause: Duration, over: &AtomicBool) {
        while !over.load(Ordering::Relaxed) {
            let customer = self.place.bank.customer();
            let start = Instant::now();
            let id = loop {
                match self.place.open(self.nodes[node].address, &customer) {
                    Ok((201 | 202, case)) => break case["case"].as_str().unwrap().to_owned(),
                    // No answer, or 503: the ledger cannot be written.
                    Err(_) | Ok((503, _)) => std::thread::sleep(Duration::from_millis(100)),
                    Ok(other) => panic!("{customer} is refused: {other:?}"),
                }
                assert!(start.elapsed() < Duration::from_secs(180), "{customer} is never acknowledged");
            };
            self.told().insert(customer, id);
            std::thread::sleep(pause);
        }
    }

    /// Waits for every case to end, holds all of them against what the bank did, and verifies the log.
    pub fn settle(mut self) -> super::Tally {
        let told = std::mem::take(&mut *self.told());
        let cases: BTreeMap<String, Value> = told
            .into_values()
            .map(|id| {
                let case = self.nodes[0].ended(&id, Duration::from_secs(120));
                (id, case)
            })
            .collect();
        let tally = judge(&cases, &self.place.bank.effects());
        self.nodes.iter_mut().for_each(|node| node.process.kill());
        let found = self.place.verify(&self.states[0]);
        assert!(found["found"]["entries"].as_u64().unwrap() as usize > cases.len(), "{found}");
        tally
    }
}
