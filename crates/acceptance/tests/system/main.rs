//! The system as a whole: the service that verifies, clients as people write them, processes that
//! are killed, one process with everything, and rules that the code keeps.

mod addressing;
mod api;
mod bounded;
mod by_hand;
mod canary;
mod clients;
mod clock_steps;
mod commands;
mod compatibility;
mod compromise;
mod endless;
mod feed;
mod flood;
mod full_disk;
mod guessing;
mod hostile;
mod house;
mod hygiene;
mod keys;
mod limits;
mod lineage;
mod log_lines;
mod overload;
mod planted;
mod proxies;
mod redis;
mod replicas;
mod resource;
mod restart;
mod roles;
mod series;
mod slow;
mod stale_feeds;
mod standalone;
mod upgrade;
