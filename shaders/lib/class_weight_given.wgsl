// What a class counts.

alias counts_group = vec4<f32>; // knob: four elements of counts

@group(0) @binding(0) var<storage, read> counts: array<counts_group>;

fn class_weight(label: u32) -> f32 {
    return load4_counts(p.counts_offset + label / 4u)[label % 4u];
}
