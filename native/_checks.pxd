# cython: language_level=3, boundscheck=False, wraparound=False
"""What a wrapper checks before its kernel trusts: lengths, order of times, signs. The message says which index."""
from native._types cimport nanos_t


cdef inline int check_same_length(Py_ssize_t expected, Py_ssize_t length, str expected_name, str name) except -1:
    """Raise ValueError when two columns differ in length."""
    if length != expected:
        raise ValueError(f"{name} has {length} elements, {expected_name} has {expected}")
    return 0


cdef inline Py_ssize_t first_negative(const nanos_t[::1] column) noexcept nogil:
    """Return the index of the first element below zero, or -1."""
    cdef Py_ssize_t i
    cdef nanos_t signs = 0
    for i in range(column.shape[0]):
        signs |= column[i]
    if signs >= 0:
        return -1
    for i in range(column.shape[0]):
        if column[i] < 0:
            return i
    return -1


cdef inline Py_ssize_t first_unsorted(const nanos_t[::1] times, nanos_t floor) noexcept nogil:
    """Return the index of the first time that is below the one before it (below `floor` for the first), or -1."""
    cdef Py_ssize_t i, n = times.shape[0]
    cdef bint is_unsorted = False
    if n == 0:
        return -1
    if times[0] < floor:
        return 0
    for i in range(1, n):
        is_unsorted |= times[i] < times[i - 1]
    if not is_unsorted:
        return -1
    for i in range(1, n):
        if times[i] < times[i - 1]:
            return i
    return -1


cdef inline int check_sizes(const nanos_t[::1] sizes) except -1:
    """Raise ValueError naming the first size below zero."""
    cdef Py_ssize_t i = first_negative(sizes)
    if i >= 0:
        raise ValueError(f"sizes[{i}] is negative: {sizes[i]}")
    return 0


cdef inline int check_times(const nanos_t[::1] times, nanos_t floor) except -1:
    """Raise ValueError naming the first time that runs backwards; `floor` is the last time already taken."""
    cdef Py_ssize_t i = first_unsorted(times, floor)
    if i >= 0:
        raise ValueError(f"times[{i}] runs backwards: {times[i]} after {times[i - 1] if i else floor}")
    return 0
