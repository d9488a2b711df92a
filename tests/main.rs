//! The integration tests, in one program: a program for each file would link the whole crate twenty times.
//! `memory` and `layers` are programs of their own: one measures its process, the other uses no crate.

mod common;

mod augment;
mod clel;
mod clel_nets;
mod cli;
mod data;
mod diagnostics;
mod fid;
mod flow;
mod inception;
mod latent_prior;
mod methods;
mod mixing;
mod own_data;
mod play;
mod posteriors;
mod prior;
mod samplers;
mod studio;
mod targets;
mod training;
