/* Shared host objects as userdata: one userdata for each object and state, released once, by the collector or when
 * the state is dropped. */
#include "internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char shim_key_objects;

/* Runs on whatever thread collects, hooks off: it only releases. [-0, +0, -] */
static int collect(lua_State *L) {
    shim_vm *vm = vm_of(L);
    shim_object *object = lua_touserdata(L, 1);
    if (object != NULL && object->ref != NULL) {
        void *ref = object->ref;
        object->ref = NULL;
        vm->slots[object->slot].ref = NULL;
        vm->slots[object->slot].next_free = vm->free_slot;
        vm->free_slot = object->slot + 1;
        shim_allocator_uncharge(&vm->allocator, SHIM_OBJECT_BYTES);
        vm->host->release(ref);
    }
    return 0;
}

/* Makes room for one more. [-0, +0, e] */
static void reserve_slot(lua_State *L, shim_vm *vm) {
    if (vm->free_slot != 0 || vm->slot_count < vm->slot_room)
        return;
    size_t room = vm->slot_room == 0 ? 4 : 2 * vm->slot_room;
    shim_slot *slots = realloc(vm->slots, room * sizeof *slots);
    if (slots == NULL)
        luaL_error(L, "not enough memory");
    vm->slots = slots;
    vm->slot_room = room;
}

static size_t take_slot(shim_vm *vm, const shim_type *type, void *ref) {
    size_t slot = vm->free_slot != 0 ? vm->free_slot - 1 : vm->slot_count++;
    if (vm->free_slot != 0)
        vm->free_slot = vm->slots[slot].next_free;
    vm->slots[slot] = (shim_slot){type, ref, 0};
    return slot;
}

void shim_each_object(shim_vm *vm, const shim_type *type, void (*visit)(void *ref, void *context), void *context) {
    for (size_t i = 0; i < vm->slot_count; i++)
        if (vm->slots[i].type == type && vm->slots[i].ref != NULL) visit(vm->slots[i].ref, context);
}

void shim_release_objects(shim_vm *vm) {
    for (size_t i = 0; i < vm->slot_count; i++)
        if (vm->slots[i].ref != NULL) vm->host->release(vm->slots[i].ref);
    free(vm->slots);
}

/* [-0, +1, m] */
static int describe(lua_State *L) {
    const shim_type *type;
    void *ref = shim_any_object(L, 1, &type);
    if (ref == NULL)
        return luaL_error(L, "a host object expected");
    lua_pushfstring(L, "%s: %p", type->name, ref);
    return 1;
}

/* __index of the table of methods: there is no such method. Upvalue: the type. [-0, +1, e] */
static int no_method(lua_State *L) {
    const shim_type *type = lua_touserdata(L, lua_upvalueindex(1));
    if (lua_type(L, 2) != LUA_TSTRING) {
        lua_pushfstring(L, "%s has no field of type %s", type->phrase, luaL_typename(L, 2));
        lua_replace(L, 1);
        lua_settop(L, 1);
        return shim_call_host(L, vm_of(L)->host->misuse);
    }
    luaL_Buffer names;
    luaL_buffinit(L, &names);
    for (const shim_method *m = type->methods; m->name != NULL; m++) {
        if (m != type->methods)
            luaL_addstring(&names, ", ");
        luaL_addstring(&names, m->name);
    }
    luaL_pushresult(&names);
    lua_pushfstring(L, "%s has no method '%s' (it has: %s)", type->phrase, lua_tostring(L, 2), lua_tostring(L, -1));
    lua_replace(L, 1);
    lua_settop(L, 1);
    return shim_call_host(L, vm_of(L)->host->misuse);
}

/* [-0, +1, m] */
static void push_metatable(lua_State *L, const shim_type *type) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, type) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    lua_createtable(L, 0, 8);
    lua_createtable(L, 0, 12);
    for (const shim_method *m = type->methods; m->name != NULL; m++) {
        if (m->holds)
            shim_push_holding(L, m->callback);
        else if (m->decides)
            shim_push_deciding(L, m->callback);
        else
            shim_push_callback(L, m->callback);
        lua_setfield(L, -2, m->name);
    }
    /* A method is found without a call; only a missing one comes to the function. */
    lua_createtable(L, 0, 1);
    lua_pushlightuserdata(L, (void *)type);
    lua_pushcclosure(L, no_method, 1);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, collect);
    lua_setfield(L, -2, "__gc");
    lua_pushcfunction(L, describe);
    lua_setfield(L, -2, "__tostring");
    lua_pushstring(L, type->name);
    lua_setfield(L, -2, "__name");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    for (const shim_method *m = type->metamethods; m != NULL && m->name != NULL; m++) {
        shim_push_callback(L, m->callback);
        lua_setfield(L, -2, m->name);
    }
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, type);
}

void shim_push_object(lua_State *L, const shim_type *type, void *ref) {
    shim_vm *vm = vm_of(L);
    luaL_checkstack(L, 12, "host object");
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &shim_key_objects) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_createtable(L, 0, 4);
        lua_createtable(L, 0, 1);
        lua_pushliteral(L, "v");
        lua_setfield(L, -2, "__mode");
        lua_setmetatable(L, -2);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &shim_key_objects);
    }
    if (lua_rawgetp(L, -1, ref) == LUA_TUSERDATA) {
        lua_remove(L, -2);
        return;
    }
    lua_pop(L, 1);
    reserve_slot(L, vm);
    size_t size = type->word == NULL ? sizeof(shim_object) : sizeof(shim_decider);
    shim_object *object = lua_newuserdatauv(L, size, 0); /* stack: objects, userdata */
    *object = (shim_object){type, NULL, 0};
    if (type->word != NULL)
        ((shim_decider *)object)->word = type->word(ref);
    push_metatable(L, type);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, -3, ref);
    /* nothing raises from here on: the object is counted once it has its slot */
    vm->host->retain(ref);
    shim_allocator_charge(&vm->allocator, SHIM_OBJECT_BYTES);
    object->ref = ref;
    object->slot = take_slot(vm, type, ref);
    lua_remove(L, -2);
}

void *shim_any_object(lua_State *L, int index, const shim_type **type) {
    /* NULL of what is no userdata, or null; a light one has no length. Scripts cannot make userdata: the block is ours. */
    shim_object *object = lua_touserdata(L, index);
    if (object == NULL)
        return NULL;
    size_t size = lua_rawlen(L, index);
    if (size != sizeof *object && size != sizeof(shim_decider))
        return NULL;
    *type = object->type;
    return object->ref;
}

void *shim_test_object(lua_State *L, int index, const shim_type *type) {
    const shim_type *actual = NULL;
    void *ref = shim_any_object(L, index, &actual);
    return actual == type ? ref : NULL;
}

/* [-1, +1, m] */
static int push_object_body(lua_State *L) {
    void **arguments = lua_touserdata(L, 1);
    shim_push_object(L, arguments[0], arguments[1]);
    return 1;
}

bool shim_push_object_protected(lua_State *L, const shim_type *type, void *ref) {
    void *arguments[2] = {(void *)type, ref};
    lua_pushcfunction(L, push_object_body);
    lua_pushlightuserdata(L, arguments);
    return lua_pcall(L, 1, 1, 0) == LUA_OK;
}

const char *shim_kind_phrase(lua_State *L, int index) {
    const shim_type *type;
    index = lua_absindex(L, index);
    switch (lua_type(L, index)) {
    case LUA_TNIL: return "nil";
    case LUA_TBOOLEAN: return "a boolean";
    case LUA_TNUMBER: return "a number";
    case LUA_TSTRING: return "a string";
    case LUA_TFUNCTION: return "a function";
    case LUA_TTHREAD: return "a coroutine";
    case LUA_TUSERDATA: return shim_any_object(L, index, &type) != NULL ? type->phrase : "a userdata";
    case LUA_TLIGHTUSERDATA: return "a light userdata";
    default: break;
    }
    const char *phrase = "a table";
    if (lua_checkstack(L, 3) && lua_getmetatable(L, index)) {
        lua_pushnil(L);
        while (lua_next(L, -2)) { /* no lua_getfield: it could raise on memory for the name */
            if (lua_type(L, -2) == LUA_TSTRING && lua_type(L, -1) == LUA_TSTRING &&
                strcmp(lua_tostring(L, -2), "__stays") == 0)
                phrase = lua_tostring(L, -1); /* kept alive by the metatable */
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
    return phrase;
}
