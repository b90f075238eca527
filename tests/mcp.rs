//! The door of agents of the built server.
