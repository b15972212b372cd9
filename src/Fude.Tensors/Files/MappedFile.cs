using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;
using static Fude.Tensors.Wording;

namespace Fude.Tensors;

/// <summary>A file as read-only memory: pages are read when they are first touched, and shared with every process
/// that maps it too.</summary>
/// <remarks>
/// The length is taken once. A file that another process shortens while it is mapped ends this process with a bus error the next time a
/// missing page is touched: replace weight files by renaming a new one over the old, as <see cref="SafeTensors"/> does, never in
/// place. What is never disposed stays mapped: the acquired pointer keeps the handle's finalizer from unmapping it under a view.
/// </remarks>
internal sealed unsafe partial class MappedFile : IDisposable
{
    private const int AdviceNotNeeded = 4;      // MADV_DONTNEED of Linux's mman.h

    private readonly MemoryMappedFile _map;
    private readonly MemoryMappedViewAccessor _view;
    private byte* _bytes;

    private MappedFile(string path, MemoryMappedFile map, MemoryMappedViewAccessor view, long length)
    {
        (Path, _map, _view, Length) = (path, map, view, length);
        view.SafeMemoryMappedViewHandle.AcquirePointer(ref _bytes);
        _bytes += view.PointerOffset;
    }

    public string Path { get; }

    public long Length { get; }

    public static MappedFile Open(string path)
    {
        if (!BitConverter.IsLittleEndian)
            throw new PlatformNotSupportedException(Say(
                $"{path}: weight files hold little-endian numbers, this machine is big-endian.",
                $"{path}: 重みのファイルの数値はリトルエンディアンですが、このマシンはビッグエンディアンです。"));
        if (Directory.Exists(path))
            throw new InvalidDataException(Say(
                $"{path}: is a folder, but a file of weights is expected.", $"{path}: フォルダーです。重みのファイルを指定してください。"));
        RequireContent(path);
        using FileStream file = new(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete);
        long length = file.Length;
        MemoryMappedFile map = MemoryMappedFile.CreateFromFile(
            file, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
        MemoryMappedViewAccessor? view = null;
        try
        {
            view = map.CreateViewAccessor(0, length, MemoryMappedFileAccess.Read);
            return new MappedFile(path, map, view, length);
        }
        catch
        {
            view?.Dispose();
            map.Dispose();
            throw;
        }
    }

    /// <summary>Refuses an empty file, before it is opened: a pipe, which would be waited for, and a device, which might never end, have
    /// no length either.</summary>
    internal static void RequireContent(string path)
    {
        FileInfo file = new(path);
        if (file.LinkTarget is not null) file = new(file.ResolveLinkTarget(returnFinalTarget: true)!.FullName);
        if (file.Exists && file.Length == 0)
            throw new InvalidDataException(Say(
                $"{path}: the file is empty. Download or copy it again.",
                $"{path}: ファイルが空です。ダウンロードまたはコピーをやり直してください。"));
    }

    /// <summary>Where the byte at <paramref name="offset"/> lies. The caller has checked that what it reads from there is in
    /// the file.</summary>
    public nint At(long offset)
    {
        if ((ulong)offset > (ulong)Length) throw new ArgumentOutOfRangeException(nameof(offset), offset, $"{Path} has {Length} bytes.");
        return (nint)(_bytes + offset);
    }

    /// <summary>Some bytes of the file, checked to be in it.</summary>
    public ReadOnlySpan<byte> Span(long offset, int length)
    {
        if (offset < 0 || length < 0 || offset > Length - length)
            throw new ArgumentOutOfRangeException(nameof(offset), offset, $"{Path} has {Length} bytes, not {length} from here on.");
        return new ReadOnlySpan<byte>(_bytes + offset, length);
    }

    /// <summary>Gives up the whole pages among some bytes, if they are of this file; reading them again brings them back.</summary>
    public void Discard(nint address, long length)
    {
        if (!OperatingSystem.IsLinux() || _bytes is null || address < (nint)_bytes || address + length > (nint)_bytes + Length) return;
        nint page = Environment.SystemPageSize, first = (address + page - 1) & -page, end = (address + (nint)length) & -page;
        if (end > first) _ = Advise(first, (nuint)(end - first), AdviceNotNeeded);
    }

    public void Dispose()
    {
        if (_bytes is null) return;
        _bytes = null;
        _view.SafeMemoryMappedViewHandle.ReleasePointer();
        _view.Dispose();
        _map.Dispose();
    }

    [LibraryImport("libc", EntryPoint = "madvise")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Advise(nint address, nuint length, int advice);
}
