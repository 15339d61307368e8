// Rows of tensor t as they are: four elements of one that begins at group `row`. The host writes the tensor's name
// for `t`.

const t_scaled: bool = false;

fn scale_t(row: u32, block: u32) -> f32 {
    return 1.0;
}

fn four_t(row: u32, c4: u32, scale: f32) -> vec4<f32> {
    return load4_t(row + c4);
}
