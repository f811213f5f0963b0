//! One binary for everything that needs several rooms at once: the demonstration bank over real HTTP, the
//! shipped models, the default pack.

mod commands;
mod flow;
mod http;
mod stage;
