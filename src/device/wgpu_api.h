// device/wgpu_api.h: the part of WebGPU's C interface that wgpu_open.c and wgpu.c use, as
// wgpu-native 29 lays it out.
//
// Written by ourselves, so that hob compiles where the library's headers are not: the library is
// looked for when a device is opened. Layouts differ from one major version to the next, which is
// why another version is refused. tests/suites/native_webgpu.py compares all of it with the
// library's own header.
#ifndef HOB_WGPU_API_H
#define HOB_WGPU_API_H

#include "base/base.h"

enum { WG_VERSION = 29 }; // of wgpuGetVersion(), its highest byte

typedef struct WgChain {
    struct WgChain *next;
    u32 type;
} WgChain;

typedef struct WgStr {
    const char *data;
    size_t length; // SIZE_MAX: data ends in a 0 byte
} WgStr;

typedef struct WgFuture {
    u64 id;
} WgFuture;

// Every object is a pointer that is given back by its release function.
typedef struct WgObject *WgInstance, *WgAdapter, *WgDevice, *WgQueue, *WgBuffer, *WgModule,
    *WgGroupLayout, *WgLayout, *WgPipeline, *WgGroup, *WgEncoder, *WgPass, *WgCommands, *WgQueries;

enum { // names of webgpu.h, and of wgpu.h for the library's own
    WG_SHADER_SOURCE_WGSL = 2,
    WG_INSTANCE_EXTRAS = 0x00030004,
    WG_BACKENDS_PRIMARY = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 5, // Vulkan, Metal, D3D12: not OpenGL
    WG_FEATURE_TIMESTAMP = 0x09,
    WG_FEATURE_SHADER_F16 = 0x0B,
    WG_FEATURE_SUBGROUP = 0x00030021, // this library's number; webgpu.h has another
    WG_HIGH_PERFORMANCE = 2,
    WG_ADAPTER_CPU = 3,
    WG_SUCCESS = 1, // of every status
    WG_SPONTANEOUS = 3,
    WG_ERROR_OUT_OF_MEMORY = 3,
    WG_BINDING_STORAGE = 3,
    WG_BINDING_READ_ONLY = 4,
    WG_STAGE_COMPUTE = 4,
    WG_MAP_READ = 1,
    WG_USE_MAP_READ = 1,
    WG_USE_COPY_SRC = 4,
    WG_USE_COPY_DST = 8,
    WG_USE_STORAGE = 0x80,
    WG_USE_QUERIES = 0x200,
    WG_QUERY_TIMESTAMP = 2,
};

typedef struct WgInstanceDesc {
    WgChain *next;
    size_t nfeatures;
    const void *features;
    const void *limits;
} WgInstanceDesc;

typedef struct WgInstanceExtras {
    WgChain chain;
    u64 backends, flags;
    u32 dx12_compiler, gles_minor, gl_fence;
    WgStr dxc_path;
    u32 dxc_model, dx12_swapchain;
    const u8 *budget_creation, *budget_loss;
    struct {
        u32 type;
        void *handle;
        int screen;
    } display;
} WgInstanceExtras;

typedef struct WgAdapterOptions {
    WgChain *next;
    u32 feature_level, power;
    u32 fallback;
    u32 backend;
    void *surface;
} WgAdapterOptions;

typedef struct WgAdapterInfo {
    WgChain *next;
    WgStr vendor, architecture, device, description;
    u32 backend, type, vendor_id, device_id, subgroup_min, subgroup_max;
} WgAdapterInfo;

typedef struct WgLimits {
    WgChain *next;
    u32 texture[4];
    u32 bind_groups, bind_groups_and_vertex, bindings_a_group, dynamic_uniform, dynamic_storage,
        sampled, samplers, storage_buffers, storage_textures, uniform_buffers;
    u64 uniform_binding_size, storage_binding_size;
    u32 uniform_align, storage_align, vertex_buffers;
    u64 buffer_size;
    u32 vertex_attributes, vertex_stride, between_stages, colours, colour_bytes;
    u32 workgroup_storage, workgroup_invocations, workgroup_x, workgroup_y, workgroup_z;
    u32 workgroups, immediate_size;
} WgLimits;

typedef void (*WgMessageFn)(u32 status, WgStr message, void *user, void *user2);
typedef void (*WgMadeFn)(u32 status, void *made, WgStr message, void *user, void *user2);
typedef void (*WgLostFn)(const WgDevice *d, u32 why, WgStr message, void *user, void *user2);
typedef WgLostFn WgErrorFn;

typedef struct WgMessageInfo { // a buffer is mapped; a queue's work is done
    WgChain *next;
    u32 mode;
    WgMessageFn call;
    void *user, *user2;
} WgMessageInfo;

typedef struct WgMadeInfo { // an adapter, a device
    WgChain *next;
    u32 mode;
    WgMadeFn call;
    void *user, *user2;
} WgMadeInfo;

typedef struct WgDeviceDesc {
    WgChain *next;
    WgStr label;
    size_t nfeatures;
    const u32 *features;
    const WgLimits *limits;
    struct {
        WgChain *next;
        WgStr label;
    } queue;
    struct {
        WgChain *next;
        u32 mode;
        WgLostFn call;
        void *user, *user2;
    } lost;
    struct {
        WgChain *next;
        WgErrorFn call;
        void *user, *user2;
    } error;
} WgDeviceDesc;

typedef struct WgBufferDesc {
    WgChain *next;
    WgStr label;
    u64 usage, size;
    u32 mapped;
} WgBufferDesc;

typedef struct WgLayoutEntry {
    WgChain *next;
    u32 binding;
    u64 visibility;
    u32 array;
    struct {
        WgChain *next;
        u32 type, dynamic;
        u64 min_size;
    } buffer;
    struct {
        WgChain *next;
        u32 type;
    } sampler;
    struct {
        WgChain *next;
        u32 type, dimension, multisampled;
    } texture;
    struct {
        WgChain *next;
        u32 access, format, dimension;
    } storage_texture;
} WgLayoutEntry;

typedef struct WgGroupLayoutDesc {
    WgChain *next;
    WgStr label;
    size_t n;
    const WgLayoutEntry *entries;
} WgGroupLayoutDesc;

typedef struct WgLayoutDesc {
    WgChain *next;
    WgStr label;
    size_t n;
    const WgGroupLayout *groups;
    u32 immediate_size;
} WgLayoutDesc;

typedef struct WgGroupEntry {
    WgChain *next;
    u32 binding;
    WgBuffer buffer;
    u64 offset, size;
    void *sampler, *texture;
} WgGroupEntry;

typedef struct WgGroupDesc {
    WgChain *next;
    WgStr label;
    WgGroupLayout layout;
    size_t n;
    const WgGroupEntry *entries;
} WgGroupDesc;

typedef struct WgModuleDesc {
    WgChain *next;
    WgStr label;
} WgModuleDesc;

typedef struct WgSourceWgsl {
    WgChain chain;
    WgStr code;
} WgSourceWgsl;

typedef struct WgPipelineDesc {
    WgChain *next;
    WgStr label;
    WgLayout layout;
    struct {
        WgChain *next;
        WgModule module;
        WgStr entry;
        size_t nconstants;
        const void *constants;
    } compute;
} WgPipelineDesc;

typedef struct WgQueriesDesc {
    WgChain *next;
    WgStr label;
    u32 type, count;
} WgQueriesDesc;

typedef struct WgPassTimes { // which of the queries a pass writes
    WgChain *next;
    WgQueries queries;
    u32 begin, end;
} WgPassTimes;

typedef struct WgPassDesc {
    WgChain *next;
    WgStr label;
    const WgPassTimes *times;
} WgPassDesc;

// F(result, name without `wgpu`, (arguments)): every function that is looked up in the library.
#define WG_FUNCTIONS(F)                                                                            \
    F(u32, GetVersion, (void))                                                                     \
    F(WgInstance, CreateInstance, (const WgInstanceDesc *desc))                                    \
    F(void, InstanceRelease, (WgInstance i))                                                       \
    F(WgFuture, InstanceRequestAdapter,                                                            \
      (WgInstance i, const WgAdapterOptions *o, WgMadeInfo then))                                  \
    F(u32, AdapterGetInfo, (WgAdapter a, WgAdapterInfo * out))                                     \
    F(void, AdapterInfoFreeMembers, (WgAdapterInfo info))                                          \
    F(u32, AdapterGetLimits, (WgAdapter a, WgLimits * out))                                        \
    F(u32, AdapterHasFeature, (WgAdapter a, u32 feature))                                          \
    F(WgFuture, AdapterRequestDevice, (WgAdapter a, const WgDeviceDesc *desc, WgMadeInfo then))    \
    F(void, AdapterRelease, (WgAdapter a))                                                         \
    F(WgQueue, DeviceGetQueue, (WgDevice d))                                                       \
    F(u32, DevicePoll, (WgDevice d, u32 wait, const u64 *submission))                              \
    F(void, DeviceDestroy, (WgDevice d))                                                           \
    F(void, DeviceRelease, (WgDevice d))                                                           \
    F(WgBuffer, DeviceCreateBuffer, (WgDevice d, const WgBufferDesc *desc))                        \
    F(WgModule, DeviceCreateShaderModule, (WgDevice d, const WgModuleDesc *desc))                  \
    F(WgGroupLayout, DeviceCreateBindGroupLayout, (WgDevice d, const WgGroupLayoutDesc *desc))     \
    F(WgLayout, DeviceCreatePipelineLayout, (WgDevice d, const WgLayoutDesc *desc))                \
    F(WgPipeline, DeviceCreateComputePipeline, (WgDevice d, const WgPipelineDesc *desc))           \
    F(WgGroup, DeviceCreateBindGroup, (WgDevice d, const WgGroupDesc *desc))                       \
    F(WgEncoder, DeviceCreateCommandEncoder, (WgDevice d, const void *desc))                       \
    F(WgPass, CommandEncoderBeginComputePass, (WgEncoder e, const WgPassDesc *desc))               \
    F(void, ComputePassEncoderSetPipeline, (WgPass p, WgPipeline pipeline))                        \
    F(void, ComputePassEncoderSetBindGroup,                                                        \
      (WgPass p, u32 at, WgGroup g, size_t ndynamic, const u32 *dynamic))                          \
    F(void, ComputePassEncoderDispatchWorkgroups, (WgPass p, u32 x, u32 y, u32 z))                 \
    F(void, ComputePassEncoderEnd, (WgPass p))                                                     \
    F(void, ComputePassEncoderRelease, (WgPass p))                                                 \
    F(void, CommandEncoderCopyBufferToBuffer,                                                      \
      (WgEncoder e, WgBuffer from, u64 from_off, WgBuffer to, u64 to_off, u64 n))                  \
    F(void, CommandEncoderResolveQuerySet,                                                         \
      (WgEncoder e, WgQueries q, u32 first, u32 n, WgBuffer to, u64 to_off))                       \
    F(WgQueries, DeviceCreateQuerySet, (WgDevice d, const WgQueriesDesc *desc))                    \
    F(void, QuerySetRelease, (WgQueries q))                                                        \
    F(float, QueueGetTimestampPeriod, (WgQueue q))                                                 \
    F(WgCommands, CommandEncoderFinish, (WgEncoder e, const void *desc))                           \
    F(void, CommandEncoderRelease, (WgEncoder e))                                                  \
    F(void, CommandBufferRelease, (WgCommands c))                                                  \
    F(void, QueueWriteBuffer, (WgQueue q, WgBuffer b, u64 off, const void *src, size_t n))         \
    F(void, QueueSubmit, (WgQueue q, size_t n, const WgCommands *at))                              \
    F(WgFuture, QueueOnSubmittedWorkDone, (WgQueue q, WgMessageInfo then))                         \
    F(void, QueueRelease, (WgQueue q))                                                             \
    F(WgFuture, BufferMapAsync, (WgBuffer b, u64 mode, size_t off, size_t n, WgMessageInfo then))  \
    F(const void *, BufferGetConstMappedRange, (WgBuffer b, size_t off, size_t n))                 \
    F(void, BufferUnmap, (WgBuffer b))                                                             \
    F(void, BufferRelease, (WgBuffer b))                                                           \
    F(void, ShaderModuleRelease, (WgModule m))                                                     \
    F(void, BindGroupLayoutRelease, (WgGroupLayout l))                                             \
    F(void, PipelineLayoutRelease, (WgLayout l))                                                   \
    F(void, ComputePipelineRelease, (WgPipeline p))                                                \
    F(void, BindGroupRelease, (WgGroup g))

typedef struct WgApi {
#define F(result, name, arguments) result(*name) arguments;
    WG_FUNCTIONS(F)
#undef F
} WgApi;

#endif
