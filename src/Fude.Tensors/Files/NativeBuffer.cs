using System.Runtime.InteropServices;
using static Fude.Tensors.Wording;

namespace Fude.Tensors;

/// <summary>A block of native memory, aligned to 64 bytes at least: the one owner, of which every
/// <see cref="Weight"/> on it is a view.</summary>
/// <remarks>It has no finalizer, on purpose: a buffer that was never disposed leaks, it never vanishes under a view that is
/// in use.</remarks>
public sealed unsafe partial class NativeBuffer : IDisposable
{
    private const int Alignment = 64, LargePage = 2 << 20, AdviceLargePages = 14;      // MADV_HUGEPAGE of Linux's mman.h
    private void* _memory;

    /// <summary>Takes <paramref name="bytes"/> bytes; their contents are undefined.</summary>
    /// <exception cref="InsufficientMemoryException">There is not so much.</exception>
    public NativeBuffer(long bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        Bytes = bytes;
        try
        {
            _memory = Take(bytes);
        }
        catch (OutOfMemoryException inner)
        {
            throw new InsufficientMemoryException(Say(
                $"{bytes} bytes of memory for weights are not to be had on this machine.",
                $"このマシンでは、重みに必要な {bytes} バイトのメモリーを確保できません。"), inner);
        }
    }

    /// <summary>How many bytes there are.</summary>
    public long Bytes { get; }

    /// <summary>The first byte.</summary>
    public nint Address => _memory is not null ? (nint)_memory : throw new ObjectDisposedException(nameof(NativeBuffer));

    /// <summary>Gives the memory back; views of it dangle from then on.</summary>
    public void Dispose()
    {
        void* memory = _memory;
        _memory = null;
        NativeMemory.AlignedFree(memory);
    }

    /// <summary>Memory that a buffer would have, for an owner of its own: to be given back to <see cref="NativeMemory.AlignedFree"/>.</summary>
    internal static void* Take(long bytes)
    {
        bool isLarge = bytes >= 2 * LargePage;
        void* memory = NativeMemory.AlignedAlloc((nuint)Math.Max(bytes, 1), (nuint)(isLarge ? LargePage : Alignment));
        // Fewer page faults while it is filled and fewer misses of the address cache while it is read. Only a wish: the answer is of no
        // consequence.
        if (isLarge && OperatingSystem.IsLinux()) _ = Advise((nint)memory, (nuint)bytes, AdviceLargePages);
        return memory;
    }

    [LibraryImport("libc", EntryPoint = "madvise")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Advise(nint address, nuint length, int advice);
}
