/* What TensorFlow asks how large a block is. Its builds on PyPI answer 0, so that the figures of its CPU allocator
   stay 0; loaded before them (LD_PRELOAD), this answers what glibc knows. */
#include <malloc.h>
#include <stddef.h>

/* tsl::port::MallocExtension_GetAllocatedSize(const void *) */
size_t _ZN3tsl4port32MallocExtension_GetAllocatedSizeEPKv(const void *block) {
  return malloc_usable_size((void *)block);
}
