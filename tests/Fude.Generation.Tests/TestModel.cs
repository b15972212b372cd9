using Fude.Models;
using Fude.Tensors;
using Fude.TestData;

namespace Fude.Generation.Tests;

/// <summary>A tiny model of the golden folder, on the processor.</summary>
internal sealed class TestModel : IDisposable
{
    private TestModel(string folder, int threads)
    {
        Model = LanguageModel.Load(folder);
        Ops = new CpuOps(threads);
    }

    public LanguageModel Model { get; }
    public CpuOps Ops { get; }

    public static TestModel Open(string name, int threads = 1) => new(TestFolders.FindGolden($"models/{name}")!, threads);

    /// <summary>Runs a request to its end, alone.</summary>
    public IReadOnlyList<DecodedSequence> Run(DecodingRequest request, int prefillTokens = 512, KeptText? kept = null)
    {
        DecodingLoop loop = new(Model, Ops, prefillTokens);
        Decoding decoding = Decoding.Start(request, Model, Ops, kept);
        loop.Join(decoding);
        try
        {
            while (!decoding.IsDone) loop.Step();
            return decoding.Result;
        }
        finally
        {
            loop.Leave(decoding);
        }
    }

    public void Dispose()
    {
        Ops.Dispose();
        Model.Dispose();
    }
}
