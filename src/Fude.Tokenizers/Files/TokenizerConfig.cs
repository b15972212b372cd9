using System.Globalization;
using static Fude.Tokenizers.Wording;

namespace Fude.Tokenizers.Files;

/// <summary>tokenizer_config.json with special_tokens_map.json and added_tokens.json, put together as transformers 4.41 does it.</summary>
internal sealed class TokenizerConfig
{
    // In the order in which transformers adds those that are missing.
    private static readonly string[] Attributes = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

    private readonly Dictionary<string, AddedToken> _special = new(StringComparer.Ordinal);

    private TokenizerConfig(string source) => Source = source;

    internal string Source { get; }

    /// <summary>Whether there is a tokenizer_config.json: then transformers is the reference.</summary>
    internal bool IsPresent { get; private set; }

    internal string? Class { get; private set; }

    internal bool? Legacy { get; private set; }

    internal bool? AddsBegin { get; private set; }

    internal bool? AddsEnd { get; private set; }

    internal bool? AddsPrefixSpace { get; private set; }

    internal bool? CleansUp { get; private set; }

    /// <summary>Added tokens by id.</summary>
    internal SortedDictionary<int, AddedToken> Added { get; } = [];

    internal List<AddedToken> Additional { get; } = [];

    internal AddedToken? Begin => Special("bos_token");

    internal AddedToken? End => Special("eos_token");

    internal AddedToken? Unknown => Special("unk_token");

    internal AddedToken? Padding => Special("pad_token");

    /// <summary>All special tokens in transformers' order.</summary>
    internal IEnumerable<AddedToken> AllSpecial => Attributes.Select(Special).OfType<AddedToken>().Concat(Additional).DistinctBy(t => t.Content);

    /// <summary>A class's own default, where the files say nothing.</summary>
    internal void Default(string attribute, string content) => _special.TryAdd(attribute, Known(AddedToken.OfSpecial(content)));

    private AddedToken? Special(string attribute) => _special.GetValueOrDefault(attribute);

    internal static TokenizerConfig Read(string folder)
    {
        string main = Path.Combine(folder, "tokenizer_config.json"), map = Path.Combine(folder, "special_tokens_map.json");
        string added = Path.Combine(folder, "added_tokens.json");
        TokenizerConfig config = new(main);
        JsonPart? mainPart = File.Exists(main) ? JsonPart.Read(main) : null;
        bool knowsAdded = false;
        if (mainPart is JsonPart part)
        {
            config.IsPresent = true;
            config.ReadMain(part);
            knowsAdded = part.Find("added_tokens_decoder") is not null;
        }
        if (!knowsAdded && File.Exists(map)) config.ReadSpecial(JsonPart.Read(map), replace: true);
        if (!knowsAdded && File.Exists(added)) config.ReadAdded(JsonPart.Read(added));
        foreach ((string attribute, AddedToken token) in config._special.ToArray()) config._special[attribute] = config.Known(token);
        return config;
    }

    /// <summary>What another kind of file says in its own words.</summary>
    internal static TokenizerConfig Of(
        string source, bool legacy, bool addsBegin, bool addsEnd, bool addsPrefixSpace, bool cleansUp,
        IEnumerable<(int Id, AddedToken Token)> added, IEnumerable<(string Attribute, AddedToken Token)> special, IEnumerable<AddedToken> additional)
    {
        TokenizerConfig config = new(source)
        {
            IsPresent = true,
            Legacy = legacy,
            AddsBegin = addsBegin,
            AddsEnd = addsEnd,
            AddsPrefixSpace = addsPrefixSpace,
            CleansUp = cleansUp,
        };
        foreach ((int id, AddedToken token) in added) config.Added[id] = token;
        foreach ((string attribute, AddedToken token) in special) config._special[attribute] = config.Known(token);
        config.Additional.AddRange(additional);
        return config;
    }

    /// <summary>What transformers' Llama classes take for granted.</summary>
    internal void DefaultLlama()
    {
        Default("bos_token", "<s>");
        Default("eos_token", "</s>");
        Default("unk_token", "<unk>");
    }

    private AddedToken Known(AddedToken token) => Added.Values.FirstOrDefault(t => t.Content == token.Content) ?? token;

    private void ReadMain(JsonPart part)
    {
        Class = part.Text("tokenizer_class");
        Legacy = part.Find("legacy")?.Boolean();
        AddsBegin = part.Find("add_bos_token")?.Boolean();
        AddsEnd = part.Find("add_eos_token")?.Boolean();
        AddsPrefixSpace = part.Find("add_prefix_space")?.Boolean();
        CleansUp = part.Find("clean_up_tokenization_spaces")?.Boolean();
        if (part.Find("added_tokens_decoder") is JsonPart decoder)
        {
            foreach ((string key, JsonPart value) in decoder.Properties())
            {
                if (!int.TryParse(key, NumberStyles.None, CultureInfo.InvariantCulture, out int id))
                    throw new InvalidDataException(Say(
                        $"{decoder.Source}: added_tokens_decoder has the key \"{key}\", where an id should be.",
                        $"{decoder.Source}: added_tokens_decoder に ID でないキー \"{key}\" があります。"));
                AddedToken token = AddedToken.Read(value, special: false);
                Fude.Tokenizers.Pieces.Vocabulary.CheckId(id, token.Content, decoder.Source);
                Added[id] = token;
            }
        }
        ReadSpecial(part, replace: true);
    }

    private void ReadSpecial(JsonPart part, bool replace)
    {
        foreach (string attribute in Attributes)
        {
            if (part.Find(attribute) is not JsonPart token) continue;
            if (replace || !_special.ContainsKey(attribute)) _special[attribute] = AddedToken.ReadSpecial(token);
        }
        if (part.Find("additional_special_tokens") is not JsonPart additional) return;
        HashSet<string> known = [.. Additional.Select(t => t.Content)];
        foreach (JsonPart token in additional.Items())
        {
            AddedToken read = AddedToken.ReadSpecial(token);
            if (known.Add(read.Content)) Additional.Add(read);
        }
    }

    private void ReadAdded(JsonPart part)
    {
        HashSet<string> special = [.. AllSpecial.Select(t => t.Content)];
        foreach ((string content, JsonPart value) in part.Properties())
        {
            int id = value.Integer();
            Fude.Tokenizers.Pieces.Vocabulary.CheckId(id, content, part.Source);
            bool isSpecial = special.Contains(content);
            if (!Added.TryAdd(id, new(content, false, false, false, Normalized: !isSpecial, isSpecial)))
                throw new InvalidDataException(Say(
                    string.Create(CultureInfo.InvariantCulture, $"{part.Source}: id {id} is given to both \"{Added[id].Content}\" and \"{content}\"."),
                    string.Create(CultureInfo.InvariantCulture, $"{part.Source}: ID {id} が \"{Added[id].Content}\" と \"{content}\" の両方に割り当てられています。")));
        }
    }
}
