// Numbers quantised to unsigned bytes.
// Planted: a negative number becomes an unsigned one before it is clamped.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) i: u32) {
    let scaled = x[i] * 128.0;
    y[i] = min(u32(scaled), 255u); // warns: conversion-range
}
