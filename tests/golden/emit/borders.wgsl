@group(0) @binding(0) var<storage, read> x: array<f32, 136>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>, 32>;
@group(0) @binding(2) var<storage, read> z: array<vec4<f32>, 32>;
var<workgroup> tile: array<f32, 68>;
@compute @workgroup_size(16, 1, 1)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) lid: vec3<u32>,
        @builtin(local_invocation_index) index: u32) {
    let o = i32(wg.x);
    let t = i32(lid.x);
    let t3 = (o * 64 + t * 4 + 2);
    let t2 = vec4<f32>(x[t3], x[t3 + 1], x[t3 + 2], x[t3 + 3]);
    tile[t * 4] = t2[0];
    tile[t * 4 + 1] = t2[1];
    tile[t * 4 + 2] = t2[2];
    tile[t * 4 + 3] = t2[3];
    if (t < 4) {
        tile[t + 64] = 0x1p+0f;
    }
    workgroupBarrier();
    let t4 = (t * 4 + 2);
    y[o * 16 + t] = vec4<f32>(tile[t4], tile[t4 + 1], tile[t4 + 2], tile[t4 + 3]) + z[o * 16 + t];
}
