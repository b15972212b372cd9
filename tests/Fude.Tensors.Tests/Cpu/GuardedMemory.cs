using System.Runtime.InteropServices;

namespace Fude.Tensors.Tests;

/// <summary>Numbers that end where the next page may not be touched: reading or writing beyond them ends the test run.</summary>
internal sealed unsafe partial class GuardedMemory : IDisposable
{
    private const int PageBytes = 65536, ProtectNone = 0, ProtectReadWrite = 3, PrivateAnonymous = 0x22;
    private readonly nint _mapping;
    private readonly nuint _mapped;

    public GuardedMemory(long bytes)
    {
        // Elsewhere than on Linux the memory is plain: the same tests run, without the guard.
        nuint pages = (nuint)((bytes + PageBytes - 1) / PageBytes * PageBytes);
        _mapped = pages + PageBytes;
        if (OperatingSystem.IsLinux())
        {
            _mapping = Map(0, _mapped, ProtectReadWrite, PrivateAnonymous, -1, 0);
            if (_mapping == -1 || Protect(_mapping + (nint)pages, PageBytes, ProtectNone) != 0)
                throw new InvalidOperationException("mmap failed.");
        }
        else
        {
            _mapping = (nint)NativeMemory.AllocZeroed(_mapped);
        }
        Address = _mapping + (nint)pages - (nint)bytes;
        Bytes = bytes;
    }

    public nint Address { get; }

    public long Bytes { get; }

    public Span<float> Floats => new((void*)Address, (int)(Bytes / 4));

    public Span<ushort> Halves => new((void*)Address, (int)(Bytes / 2));

    public static GuardedMemory Of(ReadOnlySpan<float> numbers)
    {
        GuardedMemory memory = new(numbers.Length * 4L);
        numbers.CopyTo(memory.Floats);
        return memory;
    }

    /// <summary>The numbers in a format, rounded to it.</summary>
    public static GuardedMemory Of(ReadOnlySpan<float> numbers, NumberFormat format)
    {
        if (format == NumberFormat.F32) return Of(numbers);
        GuardedMemory memory = new(numbers.Length * 2L);
        for (int i = 0; i < numbers.Length; i++)
            memory.Halves[i] = format == NumberFormat.F16
                ? BitConverter.HalfToUInt16Bits((Half)numbers[i])
                : (ushort)(BitConverter.SingleToUInt32Bits(numbers[i]) >> 16);
        return memory;
    }

    public void Dispose()
    {
        if (OperatingSystem.IsLinux()) _ = Unmap(_mapping, _mapped);
        else NativeMemory.Free((void*)_mapping);
    }

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    private static partial nint Map(nint address, nuint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "mprotect", SetLastError = true)]
    private static partial int Protect(nint address, nuint length, int protection);

    [LibraryImport("libc", EntryPoint = "munmap", SetLastError = true)]
    private static partial int Unmap(nint address, nuint length);
}
