//! The system as a whole: the service that verifies, clients as people write them, processes that
//! are killed, one process with everything, and rules that the code keeps.

mod api;
mod bounded;
mod canary;
mod clients;
mod commands;
mod compromise;
mod feed;
mod guessing;
mod house;
mod hygiene;
mod keys;
mod limits;
mod overload;
mod planted;
mod redis;
mod replicas;
mod resource;
mod restart;
mod roles;
mod standalone;
mod upgrade;
