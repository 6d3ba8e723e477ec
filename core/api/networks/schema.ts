import { endpoint, type EndpointJson } from '../containers/schema.js';
import { bool, list, object, required, text, textMap } from '../json-schema.js';

type Maybe<T> = T | null | undefined;
type TextMap = Record<string, string | null>;

export interface NetworkCreateBody {
  Name?: Maybe<string>;
  CheckDuplicate?: Maybe<boolean>;
  Driver?: Maybe<string>;
  Scope?: Maybe<string>;
  EnableIPv4?: Maybe<boolean>;
  EnableIPv6?: Maybe<boolean>;
  IPAM?: Maybe<{
    Driver?: Maybe<string>;
    Options?: Maybe<TextMap>;
    Config?: Maybe<
      {
        Subnet?: Maybe<string>;
        IPRange?: Maybe<string>;
        Gateway?: Maybe<string>;
        AuxiliaryAddresses?: Maybe<TextMap>;
        AuxAddress?: Maybe<TextMap>;
      }[]
    >;
  }>;
  Internal?: Maybe<boolean>;
  Attachable?: Maybe<boolean>;
  Ingress?: Maybe<boolean>;
  ConfigOnly?: Maybe<boolean>;
  ConfigFrom?: Maybe<{ Network?: Maybe<string> }>;
  Options?: Maybe<TextMap>;
  Labels?: Maybe<TextMap>;
}

export interface ConnectBody {
  Container?: Maybe<string>;
  EndpointConfig?: Maybe<EndpointJson>;
}

export interface DisconnectBody {
  Container?: Maybe<string>;
  Force?: Maybe<boolean>;
}

export const create = {
  body: required(
    object({
      Name: text,
      CheckDuplicate: bool,
      Driver: text,
      Scope: text,
      EnableIPv4: bool,
      EnableIPv6: bool,
      IPAM: object({
        Driver: text,
        Options: textMap,
        Config: list(object({ Subnet: text, IPRange: text, Gateway: text, AuxiliaryAddresses: textMap, AuxAddress: textMap })),
      }),
      Internal: bool,
      Attachable: bool,
      Ingress: bool,
      ConfigOnly: bool,
      ConfigFrom: object({ Network: text }),
      Options: textMap,
      Labels: textMap,
    }),
  ),
};

export const connect = { body: required(object({ Container: text, EndpointConfig: endpoint })) };
export const disconnect = { body: required(object({ Container: text, Force: bool })) };

export const LIST_FILTERS = ['dangling', 'driver', 'id', 'label', 'name', 'scope', 'type'] as const;
export const PRUNE_FILTERS = ['label', 'label!', 'until'] as const;
