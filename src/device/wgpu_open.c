// device/wgpu_open.c: the library wgpu-native is found, and an adapter and its device are asked
// for.
//
// The library tells errors by a callback inside the call that was wrong; what it left is looked at
// by wgpu_fine after every call that can be refused.
#if !defined(__wasm__)
#define _POSIX_C_SOURCE 200809L
#include "device/wgpu_int.h"

#include <dlfcn.h>
#include <stdlib.h>

#if defined(__APPLE__)
#define LIBRARY "libwgpu_native.dylib"
#else
#define LIBRARY "libwgpu_native.so"
#endif
#if !defined(HOB_WGPU_LIBRARY) // where set-up puts it
#define HOB_WGPU_LIBRARY ""
#endif

// ---- what the library says ----------------------------------------------------------------------

static Str str_wg(WgStr s) {
    if (!s.data) return S("");
    return s.length == SIZE_MAX ? str_c(s.data) : (Str){s.data, s.length};
}

// In one line, and without the list of calls that the library begins with.
static void keep_message(Wgpu *w, Str s) {
    Buf b = {.ptr = w->said, .cap = sizeof w->said};
    size_t from = 0;
    for (size_t i = 0; i + 10 < s.len; i++)
        if (str_starts(str_sub(s, i, s.len), S("Caused by:"))) from = i + 10;
    bool gap = false;
    w->said[0] = 0;
    for (size_t i = from; i < s.len; i++) {
        bool space = (u8)s.ptr[i] <= ' ';
        if (gap && !space && b.len) buf_char(&b, ' ');
        if (!space) buf_char(&b, s.ptr[i]);
        gap = space;
    }
}

static void on_error(const WgDevice *wd, u32 type, WgStr message, void *user, void *user2) {
    Device *d = user;
    Wgpu *w = d->self;
    (void)wd, (void)user2;
    // calls may say so before the callback that is for it
    if (!w->closed && str_has(str_wg(message), S("device is lost"))) device_set_lost(d);
    if (w->wrong) return; // the first says most
    w->wrong = true;
    w->no_memory = type == WG_ERROR_OUT_OF_MEMORY;
    keep_message(w, str_wg(message));
}

static void on_lost(const WgDevice *wd, u32 why, WgStr message, void *user, void *user2) {
    Device *d = user;
    (void)wd, (void)why, (void)message, (void)user2;
    if (!((Wgpu *)d->self)->closed) device_set_lost(d);
}

// After a call that may be refused: was it?
bool wgpu_fine(Device *d, ErrId id, Str subject, Err *err) {
    Wgpu *w = d->self;
    bool wrong = w->wrong;
    w->wrong = false;
    if (d->lost) return err_set(err, ERR_DEVICE_LOST, "the device is gone; open the model again");
    if (!wrong) return true;
    err_set(err, w->no_memory ? ERR_OUT_OF_MEMORY : id, "%s", w->said);
    return subject.len ? err_subject(err, subject) : false;
}

// ---- opening ------------------------------------------------------------------------------------

bool wgpu_library(Wgpu *w, Err *err) {
    const char *named = getenv("HOB_WGPU");
    const char *const places[] = {named && *named ? named : HOB_WGPU_LIBRARY, LIBRARY};
    void *library = NULL;
    for (int i = 0; i < 2 && !library && !(i && named && *named); i++)
        if (*places[i]) library = dlopen(places[i], RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return err_set(err, ERR_DEVICE_UNKNOWN,
                       "the webgpu device needs the library wgpu-native %d: run `python3 "
                       "tools/setup webgpu`, or name the library by HOB_WGPU=FILE%s%s",
                       WG_VERSION, named && *named ? "; there is none at " : "",
                       named && *named ? named : "");
    const char *missing = NULL;
#define F(result, name, arguments)                                                                 \
    {                                                                                              \
        void *at = dlsym(library, "wgpu" #name);                                                   \
        if (!at) missing = #name;                                                                  \
        memcpy(&w->api.name, &at, sizeof at);                                                      \
    }
    WG_FUNCTIONS(F)
#undef F
    u32 version = w->api.GetVersion ? CALL(w, GetVersion) >> 24 : 0;
    if (!missing && version == WG_VERSION) return true;
    dlclose(library);
    if (version != WG_VERSION)
        return err_set(err, ERR_DEVICE_UNKNOWN,
                       "the library wgpu-native that was found is version %u and version %d is "
                       "needed; run `python3 tools/setup webgpu`, or name one by HOB_WGPU=FILE",
                       version, WG_VERSION);
    return err_set(err, ERR_DEVICE_UNKNOWN, "the library wgpu-native lacks wgpu%s", missing);
}

typedef struct Made {
    void *at;
    Wgpu *w;
} Made;

static void on_made(u32 status, void *made, WgStr message, void *user, void *user2) {
    Made *m = user;
    (void)user2;
    m->at = status == WG_SUCCESS ? made : NULL;
    if (!m->at) keep_message(m->w, str_wg(message));
}

static bool adapter_open(Wgpu *w, Err *err) {
    WgInstanceExtras extras = {.chain = {.type = WG_INSTANCE_EXTRAS},
                               .backends = WG_BACKENDS_PRIMARY};
    WgInstanceDesc desc = {.next = &extras.chain};
    WgAdapterOptions o = {.power = WG_HIGH_PERFORMANCE};
    Made made = {.w = w};
    w->instance = CALL(w, CreateInstance, &desc);
    if (w->instance)
        CALL(w, InstanceRequestAdapter, w->instance, &o,
             (WgMadeInfo){.mode = WG_SPONTANEOUS, .call = on_made, .user = &made});
    w->adapter = made.at;
    return w->adapter ||
           err_set(err, ERR_DEVICE_UNKNOWN,
                   "no GPU speaks WebGPU here; install its Vulkan driver, or Debian's libvulkan1 "
                   "and mesa-vulkan-drivers, which need no GPU (%s)",
                   w->said);
}

static i64 power_below(u32 n) {
    i64 p = 1;
    while (p * 2 <= (i64)n) p *= 2;
    return p;
}

enum { VENDOR_NVIDIA = 0x10de };

// The same fields as a page fills from its adapter (web/src/adapter.ts).
static void fill_profile(Profile *p, const WgLimits *l, const WgAdapterInfo *info) {
    const i64 most = (i64)1 << 40;
    u32 lanes = info->subgroup_min == info->subgroup_max ? info->subgroup_min : 0;
    // the library may not say; these have never had another number
    if (!info->subgroup_max && info->vendor_id == VENDOR_NVIDIA) lanes = 32;
    u32 wg = MIN2(MIN2(l->workgroup_invocations, l->workgroup_x), 1024u);
    profile_named(info->type == WG_ADAPTER_CPU ? S("software") : S("gpu"), p);
    p->max_wg_size = power_below(wg);
    p->wg_size = MIN2(64, p->max_wg_size);
    p->shared_bytes = MIN2(l->workgroup_storage, 1u << 20);
    p->subgroup = lanes <= 128 ? lanes : 0;
    p->max_bindings = MIN2(8u, l->storage_buffers);
    p->max_binding_bytes = (i64)(MIN2(l->storage_binding_size, (u64)most) / 256 * 256);
    p->max_buffer_bytes = (i64)(MIN2(l->buffer_size, (u64)most) / 256 * 256);
    p->offset_align = MAX2(16u, l->storage_align);
    p->max_grid = MIN2(l->workgroups, 1u << 31);
}

bool wgpu_device(Device *d, Err *err) {
    Wgpu *w = d->self;
    if (!adapter_open(w, err)) return false;
    WgLimits limits = {0};
    WgAdapterInfo info = {0};
    u32 features[3];
    size_t nfeatures = 0;
    if (CALL(w, AdapterGetLimits, w->adapter, &limits) != WG_SUCCESS ||
        CALL(w, AdapterGetInfo, w->adapter, &info) != WG_SUCCESS)
        return err_set(err, ERR_DEVICE_FAILED, "the GPU does not say what it can do");
    fill_profile(&w->profile, &limits, &info);
    // asked for wherever it is there: a profile that is given may know how many lanes there are
    if (CALL(w, AdapterHasFeature, w->adapter, WG_FEATURE_SUBGROUP))
        features[nfeatures++] = WG_FEATURE_SUBGROUP;
    else
        w->profile.subgroup = 0;
    w->profile.f16 = CALL(w, AdapterHasFeature, w->adapter, WG_FEATURE_SHADER_F16) != 0;
    if (w->profile.f16) features[nfeatures++] = WG_FEATURE_SHADER_F16;
    bool stamps = CALL(w, AdapterHasFeature, w->adapter, WG_FEATURE_TIMESTAMP) != 0;
    if (stamps) features[nfeatures++] = WG_FEATURE_TIMESTAMP;
    w->profile.name = arena_str(d->arena, str_wg(info.device));
    d->adapter = str_fmt(d->arena, "%S, %S, %x:%x", str_wg(info.device), str_wg(info.description),
                         info.vendor_id, info.device_id);
    CALL(w, AdapterInfoFreeMembers, info);
    WgDeviceDesc desc = {.nfeatures = nfeatures,
                         .features = features,
                         .limits = &limits,
                         .lost = {.mode = WG_SPONTANEOUS, .call = on_lost, .user = d},
                         .error = {.call = on_error, .user = d}};
    Made made = {.w = w};
    CALL(w, AdapterRequestDevice, w->adapter, &desc,
         (WgMadeInfo){.mode = WG_SPONTANEOUS, .call = on_made, .user = &made});
    w->device = made.at;
    if (!w->device) return err_set(err, ERR_DEVICE_FAILED, "the GPU is not to be had: %s", w->said);
    w->queue = CALL(w, DeviceGetQueue, w->device);
    if (w->queue && stamps) {
        d->timed = QUERIES_MAX / 2;
        w->tick_ms = (double)CALL(w, QueueGetTimestampPeriod, w->queue) * 1e-6;
    }
    return w->queue || err_set(err, ERR_DEVICE_FAILED, "the GPU has no queue");
}

#else
typedef int device_wgpu_open_is_native_only; // a translation unit must hold a declaration
#endif
